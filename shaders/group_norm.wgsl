// Group norm (eps 1e-6, affine) of images that lie as (item, row, column, channel), in three steps: mean and spread of each
// channel over pieces of 64 pixels, joined over pieces and the channels of a group, then applied.

struct Shape {
    pixels: u32,
    // Quads of a pixel, channels of a group, and pieces of an image.
    channels: u32,
    grouped: u32,
    pieces: u32,
    // Quads from an item's scale or shift to the next one's, 0 where all have the same; and the quad where shifts begin.
    step: u32,
    shift_base: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> image: array<vec4<f32>>;
// Of each (item, piece, channel): mean and sum of squared differences from it.
@group(0) @binding(2) var<storage, read> pieces: array<vec2<f32>>;
// Of each (item, channel): mean of its group, and one over its standard deviation.
@group(0) @binding(3) var<storage, read> moments: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> shift: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> pairs: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> result: array<vec4<f32>>;

// x · sigmoid(x) of the result.
override SWISH: bool = false;

const PIECE = 64u;

// Each thread: one quad of channels of one piece.
@compute @workgroup_size(32)
fn measure(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let quad = group.x * 32u + thread;
    if (quad >= shape.channels) {
        return;
    }
    let start = group.y * PIECE;
    let count = min(PIECE, shape.pixels - start);
    let at = (group.z * shape.pixels + start) * shape.channels + quad;
    var mean = vec4(0.0);
    for (var i = 0u; i < count; i++) {
        mean += image[at + i * shape.channels];
    }
    mean /= f32(count);
    var squares = vec4(0.0);
    for (var i = 0u; i < count; i++) {
        let centred = image[at + i * shape.channels] - mean;
        squares += centred * centred;
    }
    let out = ((group.z * shape.pieces + group.y) * shape.channels + quad) * 4u;
    pairs[out] = vec2(mean.x, squares.x);
    pairs[out + 1u] = vec2(mean.y, squares.y);
    pairs[out + 2u] = vec2(mean.z, squares.z);
    pairs[out + 3u] = vec2(mean.w, squares.w);
}

// Of what a thread has seen: number, mean, sum of squared differences.
var<workgroup> seen: array<vec3<f32>, 64>;

// Chan, Golub and LeVeque 1979: two sets of values become one.
fn joined(a: vec3<f32>, b: vec3<f32>) -> vec3<f32> {
    let count = a.x + b.x;
    if (count == 0.0) {
        return a;
    }
    let apart = b.y - a.y;
    return vec3(count, a.y + apart * b.x / count, a.z + b.z + apart * apart * a.x * b.x / count);
}

// Each workgroup: one group of channels of one item.
@compute @workgroup_size(64)
fn join(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = group.x * shape.grouped;
    var own = vec3(0.0);
    for (var i = thread; i < shape.pieces * shape.grouped; i += 64u) {
        let piece = i / shape.grouped;
        let channel = first + i % shape.grouped;
        let pair = pieces[(group.z * shape.pieces + piece) * shape.channels * 4u + channel];
        own = joined(own, vec3(f32(min(PIECE, shape.pixels - piece * PIECE)), pair));
    }
    seen[thread] = own;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            seen[thread] = joined(seen[thread], seen[thread + half]);
        }
    }
    workgroupBarrier();
    let all = seen[0];
    for (var i = thread; i < shape.grouped; i += 64u) {
        pairs[group.z * shape.channels * 4u + first + i] = vec2(all.y, inverseSqrt(all.z / all.x + 1e-6));
    }
}

// Each thread: one quad.
@compute @workgroup_size(256)
fn apply(@builtin(global_invocation_id) id: vec3<u32>) {
    let length = shape.pixels * shape.channels;
    if (id.x >= length) {
        return;
    }
    let quad = id.x % shape.channels;
    let at = (id.z * shape.channels + quad) * 4u;
    let a = moments[at];
    let b = moments[at + 1u];
    let c = moments[at + 2u];
    let d = moments[at + 3u];
    let centred = image[id.z * length + id.x] - vec4(a.x, b.x, c.x, d.x);
    let own = id.z * shape.step + quad;
    var value = centred * vec4(a.y, b.y, c.y, d.y) * scale[own] + shift[shape.shift_base + own];
    if (SWISH) {
        value = value / (1.0 + exp(-value));
    }
    result[id.z * length + id.x] = value;
}
