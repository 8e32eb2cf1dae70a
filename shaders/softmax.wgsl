// Softmax of the scaled values of each row, in place; what pads a row to whole quads becomes zero. One workgroup makes one
// row.

struct Shape {
    // Values of a row, and values from one row to the next.
    count: u32,
    step: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> rows: array<f32>;

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let start = group.x * shape.step;
    var highest = -1e30;
    for (var i = thread; i < shape.count; i += 64u) {
        highest = max(highest, rows[start + i] * shape.scale);
    }
    parts[thread] = highest;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            parts[thread] = max(parts[thread], parts[thread + half]);
        }
    }
    highest = workgroupUniformLoad(&parts[0]);
    var sum = 0.0;
    for (var i = thread; i < shape.count; i += 64u) {
        let weight = exp(rows[start + i] * shape.scale - highest);
        rows[start + i] = weight;
        sum += weight;
    }
    parts[thread] = sum;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) {
            parts[thread] += parts[thread + half];
        }
    }
    sum = workgroupUniformLoad(&parts[0]);
    for (var i = thread; i < shape.step; i += 64u) {
        rows[start + i] = select(0.0, rows[start + i] / sum, i < shape.count);
    }
}
