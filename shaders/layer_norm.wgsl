// Layer norm (eps 1e-5, affine) of each row; one workgroup makes one row.

struct Shape {
    // Quads of a row.
    width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

var<workgroup> sums: array<f32, 64>;

// The sum of a value over all threads, in an order that never changes.
fn over_all(value: f32, thread: u32) -> f32 {
    workgroupBarrier();
    sums[thread] = value;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            sums[thread] += sums[thread + half];
        }
    }
    return workgroupUniformLoad(&sums[0]);
}

@compute @workgroup_size(64)
fn layer_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let start = group.x * shape.width;
    let count = f32(4u * shape.width);
    var sum = 0.0;
    for (var i = thread; i < shape.width; i += 64u) {
        sum += dot(rows[start + i], vec4(1.0));
    }
    let mean = over_all(sum, thread) / count;
    var squares = 0.0;
    for (var i = thread; i < shape.width; i += 64u) {
        let centred = rows[start + i] - mean;
        squares += dot(centred, centred);
    }
    let factor = inverseSqrt(over_all(squares, thread) / count + 1e-5);
    for (var i = thread; i < shape.width; i += 64u) {
        result[start + i] = (rows[start + i] - mean) * factor * scale[i] + shift[i];
    }
}
