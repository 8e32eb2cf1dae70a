// Where realisations disagree, per pixel. Samples lie one realisation after another, row-major.

struct Shape {
    pixels: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> samples: array<f32>;
@group(0) @binding(2) var<storage, read_write> spread: array<f32>;

// Population variance. Differences from the first realisation keep float32 exact enough for elevations of thousands
// of metres that differ by centimetres.
@compute @workgroup_size(256)
fn variance(@builtin(global_invocation_id) id: vec3u) {
    let pixel = id.x;
    if pixel >= shape.pixels {
        return;
    }
    let origin = samples[pixel];
    var sum = 0.0;
    for (var i = 0u; i < shape.count; i++) {
        sum += samples[i * shape.pixels + pixel] - origin;
    }
    let mean = sum / f32(shape.count);
    var squares = 0.0;
    for (var i = 0u; i < shape.count; i++) {
        let difference = samples[i * shape.pixels + pixel] - origin - mean;
        squares += difference * difference;
    }
    spread[pixel] = squares / f32(shape.count);
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
        let code = samples[i * shape.pixels + pixel];
        var votes = 0u;
        for (var k = 0u; k < shape.count; k++) {
            votes += u32(samples[k * shape.pixels + pixel] == code);
        }
        most = max(most, votes);
    }
    spread[pixel] = 1.0 - f32(most) / f32(shape.count);
}
