// How far realisations differ, per pixel. Samples lie one realisation after another, row-major.

struct Shape {
    pixels: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> samples: array<f32>;
@group(0) @binding(2) var<storage, read_write> spread: array<f32>;

fn sample(pixel: u32, i: u32) -> f32 {
    return samples[i * shape.pixels + pixel];
}

// Where realisations are not valid or not sampled there is no spread; colours are drawn from 0 on.
fn put(pixel: u32, value: f32) {
    spread[pixel] = select(value, NOTHING, sample(pixel, 0u) <= -1e30);
}

// Population variance. Differences from the first realisation keep float32 exact enough for elevations of thousands
// of metres that differ by centimetres.
fn variance_at(pixel: u32) -> f32 {
    let origin = sample(pixel, 0u);
    var sum = 0.0;
    for (var i = 0u; i < shape.count; i++) {
        sum += sample(pixel, i) - origin;
    }
    let mean = sum / f32(shape.count);
    var squares = 0.0;
    for (var i = 0u; i < shape.count; i++) {
        let difference = sample(pixel, i) - origin - mean;
        squares += difference * difference;
    }
    return squares / f32(shape.count);
}

// The value of this rank, counted from 0.
fn ranked(pixel: u32, rank: u32) -> f32 {
    for (var i = 0u; i < shape.count; i++) {
        let value = sample(pixel, i);
        var below = 0u;
        var same = 0u;
        for (var k = 0u; k < shape.count; k++) {
            let other = sample(pixel, k);
            below += u32(other < value);
            same += u32(other == value);
        }
        if below <= rank && rank < below + same {
            return value;
        }
    }
    return 0.0;
}

// Linear between the nearest of sorted values.
fn quantile(pixel: u32, quarters: u32) -> f32 {
    let at = quarters * (shape.count - 1u);
    let low = ranked(pixel, at / 4u);
    let high = ranked(pixel, min(at / 4u + 1u, shape.count - 1u));
    return low + (high - low) * f32(at % 4u) / 4.0;
}

@compute @workgroup_size(256)
fn variance(@builtin(global_invocation_id) id: vec3u) {
    if id.x < shape.pixels {
        put(id.x, variance_at(id.x));
    }
}

@compute @workgroup_size(256)
fn deviation(@builtin(global_invocation_id) id: vec3u) {
    if id.x < shape.pixels {
        put(id.x, sqrt(variance_at(id.x)));
    }
}

// Between the quartiles.
@compute @workgroup_size(256)
fn quartiles(@builtin(global_invocation_id) id: vec3u) {
    if id.x < shape.pixels {
        put(id.x, quantile(id.x, 3u) - quantile(id.x, 1u));
    }
}

// Between the smallest and the largest.
@compute @workgroup_size(256)
fn extent(@builtin(global_invocation_id) id: vec3u) {
    let pixel = id.x;
    if pixel >= shape.pixels {
        return;
    }
    var low = sample(pixel, 0u);
    var high = low;
    for (var i = 1u; i < shape.count; i++) {
        low = min(low, sample(pixel, i));
        high = max(high, sample(pixel, i));
    }
    put(pixel, high - low);
}

// Share of realisations that differ from the most frequent class.
@compute @workgroup_size(256)
fn disagreement(@builtin(global_invocation_id) id: vec3u) {
    let pixel = id.x;
    if pixel >= shape.pixels {
        return;
    }
    var most = 0u;
    for (var i = 0u; i < shape.count; i++) {
        let code = sample(pixel, i);
        var votes = 0u;
        for (var k = 0u; k < shape.count; k++) {
            votes += u32(sample(pixel, k) == code);
        }
        most = max(most, votes);
    }
    put(pixel, 1.0 - f32(most) / f32(shape.count));
}

// Entropy of the classes in bits: each realisation adds its share of what its class adds.
@compute @workgroup_size(256)
fn entropy(@builtin(global_invocation_id) id: vec3u) {
    let pixel = id.x;
    if pixel >= shape.pixels {
        return;
    }
    var bits = 0.0;
    for (var i = 0u; i < shape.count; i++) {
        let code = sample(pixel, i);
        var votes = 0u;
        for (var k = 0u; k < shape.count; k++) {
            votes += u32(sample(pixel, k) == code);
        }
        bits -= log2(f32(votes) / f32(shape.count));
    }
    put(pixel, bits / f32(shape.count));
}

// What was observed lies after the last realisation; where it is no data, so low a value that none is below.
fn truth(pixel: u32) -> f32 {
    return sample(pixel, shape.count);
}

// Stands for "nothing to compare with"; every measure is at least 0.
const NOTHING = -1.0;

fn is_observed(pixel: u32) -> bool {
    return truth(pixel) > -1e30;
}

// Distance of the mean from what was observed.
@compute @workgroup_size(256)
fn error(@builtin(global_invocation_id) id: vec3u) {
    let pixel = id.x;
    if pixel >= shape.pixels {
        return;
    }
    if !is_observed(pixel) {
        put(pixel, NOTHING);
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < shape.count; i++) {
        sum += sample(pixel, i) - truth(pixel);
    }
    put(pixel, abs(sum / f32(shape.count)));
}

// Share of realisations below what was observed; those that equal it count half.
@compute @workgroup_size(256)
fn rank(@builtin(global_invocation_id) id: vec3u) {
    let pixel = id.x;
    if pixel >= shape.pixels {
        return;
    }
    if !is_observed(pixel) {
        put(pixel, NOTHING);
        return;
    }
    var halves = 0u;
    for (var i = 0u; i < shape.count; i++) {
        let value = sample(pixel, i);
        halves += 2u * u32(value < truth(pixel)) + u32(value == truth(pixel));
    }
    put(pixel, f32(halves) / f32(2u * shape.count));
}

// Share of realisations whose class is not the observed one.
@compute @workgroup_size(256)
fn missed(@builtin(global_invocation_id) id: vec3u) {
    let pixel = id.x;
    if pixel >= shape.pixels {
        return;
    }
    if !is_observed(pixel) {
        put(pixel, NOTHING);
        return;
    }
    var others = 0u;
    for (var i = 0u; i < shape.count; i++) {
        others += u32(sample(pixel, i) != truth(pixel));
    }
    put(pixel, f32(others) / f32(shape.count));
}
