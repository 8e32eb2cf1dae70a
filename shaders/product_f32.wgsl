// Weights in float32, (outputs, inputs).

@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;

fn weight_at(column: u32, k: u32) -> vec4<f32> {
    if (column >= shape.weights || k >= shape.inner) {
        return vec4(0.0);
    }
    return weight[shape.weight_base + column * shape.inner + k];
}
