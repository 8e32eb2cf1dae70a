// The product behind every linear layer and convolution: C = end(A · Wᵀ + bias).
//
// Follows one of product_rows.wgsl and product_neighbours.wgsl, which say what a row of A is, and one of product_f32.wgsl
// and product_f16.wgsl, which say how weights are stored. Lengths along rows are counted in quads of four values.
//
// A workgroup makes 64 rows × 64 columns of C, each of its 128 threads 8 rows × 4 columns in registers. The inner side
// is walked in steps of 16 values, for which both operands wait in workgroup memory, transposed. Every element is one
// sum in the order of the inner side, wherever its row lies: the result of a row does not depend on the others.

struct Shape {
    // Rows of A and C, and how many of them make an item of the batch.
    rows: u32,
    per_item: u32,
    // Quads of the inner side, of a row of `first`, and of a row of C.
    inner: u32,
    split: u32,
    columns: u32,
    // Rows of W; columns of C beyond them are zero plus bias.
    weights: u32,
    // A row of an operand begins at base + (item · step + row in the item) · quads of its row.
    first_base: u32,
    first_step: u32,
    result_base: u32,
    result_step: u32,
    residual_base: u32,
    residual_step: u32,
    // Of images (product_neighbours.wgsl): size and quads of a pixel of the input, columns of the output, ...
    height: u32,
    width: u32,
    channels: u32,
    out_width: u32,
    // ... pixels from one output to the next, zeros above and to the left, and 1 where the input is doubled first.
    stride: u32,
    margin: u32,
    doubled: u32,
    // The quad of W's storage where it begins.
    weight_base: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> first: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> second: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> result: array<vec4<f32>>;

// What happens to a sum before it is stored: one of them, or none.
override GELU: bool = false;
override RESIDUAL: bool = false;

var<workgroup> tile_a: array<vec4<f32>, 256>;
var<workgroup> tile_w: array<vec4<f32>, 256>;

// Complementary error function of z ≥ 0, to 1.2e-7 of itself (Press et al., Numerical Recipes, erfcc).
fn erfc(z: vec4<f32>) -> vec4<f32> {
    let t = 1.0 / (1.0 + 0.5 * z);
    var p = vec4(0.17087277);
    p = p * t - 0.82215223;
    p = p * t + 1.48851587;
    p = p * t - 1.13520398;
    p = p * t + 0.27886807;
    p = p * t - 0.18628806;
    p = p * t + 0.09678418;
    p = p * t + 0.37409196;
    p = p * t + 1.00002368;
    p = p * t - 1.26551223;
    return t * exp(p - z * z);
}

// x · Φ(x) with the exact normal distribution.
fn gelu(x: vec4<f32>) -> vec4<f32> {
    // Beyond 13 the tail is zero in float32, and its exponent leaves the range of exp.
    let tail = 0.5 * erfc(min(abs(x), vec4(13.0)) * 0.70710678);
    return x * select(1.0 - tail, tail, x < vec4(0.0));
}

fn store(row: u32, column: u32, sum: vec4<f32>) {
    if (row >= shape.rows || column >= shape.columns) {
        return;
    }
    let item = row / shape.per_item;
    let own = row % shape.per_item;
    var value = sum + bias[column];
    if (GELU) {
        value = gelu(value);
    }
    if (RESIDUAL) {
        value += residual[shape.residual_base + (item * shape.residual_step + own) * shape.columns + column];
    }
    result[shape.result_base + (item * shape.result_step + own) * shape.columns + column] = value;
}

@compute @workgroup_size(128)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let tx = thread % 16u;
    let ty = thread / 16u;
    // What this thread fetches of each step: four rows of A (threads 0…63) or W (64…127), one quad of each.
    let quad = thread % 4u;
    let four = (thread % 64u) / 4u;
    let fetches_a = thread < 64u;
    let row = group.y * 64u + four * 4u;
    let column = group.x * 64u + four * 4u;
    let p0 = place(row);
    let p1 = place(row + 1u);
    let p2 = place(row + 2u);
    let p3 = place(row + 3u);
    var s0 = vec4(0.0);
    var s1 = vec4(0.0);
    var s2 = vec4(0.0);
    var s3 = vec4(0.0);
    var s4 = vec4(0.0);
    var s5 = vec4(0.0);
    var s6 = vec4(0.0);
    var s7 = vec4(0.0);
    for (var start = 0u; start < shape.inner; start += 4u) {
        let k = start + quad;
        var b0: vec4<f32>;
        var b1: vec4<f32>;
        var b2: vec4<f32>;
        var b3: vec4<f32>;
        if (fetches_a) {
            b0 = value_at(p0, k);
            b1 = value_at(p1, k);
            b2 = value_at(p2, k);
            b3 = value_at(p3, k);
        } else {
            b0 = weight_at(column, k);
            b1 = weight_at(column + 1u, k);
            b2 = weight_at(column + 2u, k);
            b3 = weight_at(column + 3u, k);
        }
        // The step before is used up.
        workgroupBarrier();
        let at = quad * 64u + four;
        if (fetches_a) {
            tile_a[at] = vec4(b0.x, b1.x, b2.x, b3.x);
            tile_a[at + 16u] = vec4(b0.y, b1.y, b2.y, b3.y);
            tile_a[at + 32u] = vec4(b0.z, b1.z, b2.z, b3.z);
            tile_a[at + 48u] = vec4(b0.w, b1.w, b2.w, b3.w);
        } else {
            tile_w[at] = vec4(b0.x, b1.x, b2.x, b3.x);
            tile_w[at + 16u] = vec4(b0.y, b1.y, b2.y, b3.y);
            tile_w[at + 32u] = vec4(b0.z, b1.z, b2.z, b3.z);
            tile_w[at + 48u] = vec4(b0.w, b1.w, b2.w, b3.w);
        }
        workgroupBarrier();
        for (var i = 0u; i < 256u; i += 16u) {
            let w = tile_w[i + tx];
            let a = tile_a[i + 2u * ty];
            let b = tile_a[i + 2u * ty + 1u];
            s0 = fma(vec4(a.x), w, s0);
            s1 = fma(vec4(a.y), w, s1);
            s2 = fma(vec4(a.z), w, s2);
            s3 = fma(vec4(a.w), w, s3);
            s4 = fma(vec4(b.x), w, s4);
            s5 = fma(vec4(b.y), w, s5);
            s6 = fma(vec4(b.z), w, s6);
            s7 = fma(vec4(b.w), w, s7);
        }
    }
    let top = group.y * 64u + ty * 8u;
    let left = group.x * 16u + tx;
    store(top, left, s0);
    store(top + 1u, left, s1);
    store(top + 2u, left, s2);
    store(top + 3u, left, s3);
    store(top + 4u, left, s4);
    store(top + 5u, left, s5);
    store(top + 6u, left, s6);
    store(top + 7u, left, s7);
}
