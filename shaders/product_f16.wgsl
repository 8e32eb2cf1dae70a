// Weights in half precision, (outputs, inputs), two to a word: every adapter can unpack those. Sums stay float32.

@group(0) @binding(3) var<storage, read> weight: array<vec2<u32>>;

fn weight_at(column: u32, k: u32) -> vec4<f32> {
    if (column >= shape.weights || k >= shape.inner) {
        return vec4(0.0);
    }
    let pair = weight[shape.weight_base + column * shape.inner + k];
    return vec4(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
