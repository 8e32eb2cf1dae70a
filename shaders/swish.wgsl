// x · sigmoid(x), value by value.

struct Shape {
    // Quads in all.
    length: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

// Each thread: one quad.
@compute @workgroup_size(256)
fn swish(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= shape.length) {
        return;
    }
    let value = values[id.x];
    result[id.x] = value / (1.0 + exp(-value));
}
