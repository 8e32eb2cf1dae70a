// Attention of the heads over each other's tokens, without ever storing the scores: the softmax is kept up to date while
// the keys pass by in tiles of 64 (Milakov and Gimelshein 2018; Dao et al. 2022).
//
// A workgroup makes 64 tokens of one head of one item; each of its 128 threads 8 tokens × 4 keys of the scores, and then
// 8 tokens × 4 features of the result (8 features in WIDE heads). Lengths along rows are counted in quads of four values.

struct Shape {
    tokens: u32,
    // Quads of a token, and of a head's part of it.
    width: u32,
    head: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Queries, keys and values of a token beside each other.
@group(0) @binding(1) var<storage, read> joint: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

// Heads of more than 64 features, up to 128.
override WIDE: bool = false;

const LOWEST = -1e30;

// While scores are made: 16 features of the queries, then of the keys, transposed. Afterwards: the weights, key by key.
var<workgroup> tile: array<vec4<f32>, 1024>;
// Of each token, one number of each thread that works on it; padded against bank conflicts.
var<workgroup> parts: array<f32, 1088>;
// Of each token: the highest score so far, the sum of weights, and what the sum until now is worth after a higher one.
var<workgroup> highest: array<f32, 64>;
var<workgroup> total: array<f32, 64>;
var<workgroup> worth: array<f32, 64>;

fn largest(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn sum(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(128)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let tx = thread % 16u;
    let ty = thread / 16u;
    let row = ty * 8u;
    let quad = thread % 4u;
    let four = (thread % 64u) / 4u;
    let fetches_queries = thread < 64u;
    let item = group.z * shape.tokens;
    let own_query = group.x * 64u + four * 4u;
    let last = shape.tokens - 1u;
    let step = 3u * shape.width;
    let queries = group.y * shape.head;
    let keys = shape.width + queries;
    let values = 2u * shape.width + queries;
    // Columns that a wide head does not have repeat its last one and are not stored.
    let near = values + tx;
    let far = values + min(tx + 16u, shape.head - 1u);

    if (thread < 64u) {
        highest[thread] = LOWEST;
        total[thread] = 0.0;
    }
    var o0 = vec4(0.0);
    var o1 = vec4(0.0);
    var o2 = vec4(0.0);
    var o3 = vec4(0.0);
    var o4 = vec4(0.0);
    var o5 = vec4(0.0);
    var o6 = vec4(0.0);
    var o7 = vec4(0.0);
    var w0 = vec4(0.0);
    var w1 = vec4(0.0);
    var w2 = vec4(0.0);
    var w3 = vec4(0.0);
    var w4 = vec4(0.0);
    var w5 = vec4(0.0);
    var w6 = vec4(0.0);
    var w7 = vec4(0.0);

    for (var key = 0u; key < shape.tokens; key += 64u) {
        var s0 = vec4(0.0);
        var s1 = vec4(0.0);
        var s2 = vec4(0.0);
        var s3 = vec4(0.0);
        var s4 = vec4(0.0);
        var s5 = vec4(0.0);
        var s6 = vec4(0.0);
        var s7 = vec4(0.0);
        for (var start = 0u; start < shape.head; start += 4u) {
            let k = start + quad;
            var b0 = vec4(0.0);
            var b1 = vec4(0.0);
            var b2 = vec4(0.0);
            var b3 = vec4(0.0);
            if (k < shape.head) {
                let begin = select(key + four * 4u, own_query, fetches_queries);
                let part = select(keys, queries, fetches_queries) + k;
                b0 = joint[(item + min(begin, last)) * step + part];
                b1 = joint[(item + min(begin + 1u, last)) * step + part];
                b2 = joint[(item + min(begin + 2u, last)) * step + part];
                b3 = joint[(item + min(begin + 3u, last)) * step + part];
            }
            workgroupBarrier();
            let at = select(256u, 0u, fetches_queries) + quad * 64u + four;
            tile[at] = vec4(b0.x, b1.x, b2.x, b3.x);
            tile[at + 16u] = vec4(b0.y, b1.y, b2.y, b3.y);
            tile[at + 32u] = vec4(b0.z, b1.z, b2.z, b3.z);
            tile[at + 48u] = vec4(b0.w, b1.w, b2.w, b3.w);
            workgroupBarrier();
            for (var i = 0u; i < 256u; i += 16u) {
                let k4 = tile[256u + i + tx];
                let a = tile[i + 2u * ty];
                let b = tile[i + 2u * ty + 1u];
                s0 = fma(vec4(a.x), k4, s0);
                s1 = fma(vec4(a.y), k4, s1);
                s2 = fma(vec4(a.z), k4, s2);
                s3 = fma(vec4(a.w), k4, s3);
                s4 = fma(vec4(b.x), k4, s4);
                s5 = fma(vec4(b.y), k4, s5);
                s6 = fma(vec4(b.z), k4, s6);
                s7 = fma(vec4(b.w), k4, s7);
            }
        }
        // Keys beyond the last count nothing.
        let there = vec4(key + tx * 4u) + vec4(0u, 1u, 2u, 3u) < vec4(shape.tokens);
        let none = vec4(LOWEST);
        s0 = select(none, s0 * shape.scale, there);
        s1 = select(none, s1 * shape.scale, there);
        s2 = select(none, s2 * shape.scale, there);
        s3 = select(none, s3 * shape.scale, there);
        s4 = select(none, s4 * shape.scale, there);
        s5 = select(none, s5 * shape.scale, there);
        s6 = select(none, s6 * shape.scale, there);
        s7 = select(none, s7 * shape.scale, there);
        let own = row * 17u + tx;
        parts[own] = largest(s0);
        parts[own + 17u] = largest(s1);
        parts[own + 34u] = largest(s2);
        parts[own + 51u] = largest(s3);
        parts[own + 68u] = largest(s4);
        parts[own + 85u] = largest(s5);
        parts[own + 102u] = largest(s6);
        parts[own + 119u] = largest(s7);
        workgroupBarrier();
        if (thread < 64u) {
            let before = highest[thread];
            var now = before;
            for (var i = 0u; i < 16u; i++) {
                now = max(now, parts[thread * 17u + i]);
            }
            highest[thread] = now;
            worth[thread] = exp(before - now);
        }
        workgroupBarrier();
        s0 = exp(s0 - highest[row]);
        s1 = exp(s1 - highest[row + 1u]);
        s2 = exp(s2 - highest[row + 2u]);
        s3 = exp(s3 - highest[row + 3u]);
        s4 = exp(s4 - highest[row + 4u]);
        s5 = exp(s5 - highest[row + 5u]);
        s6 = exp(s6 - highest[row + 6u]);
        s7 = exp(s7 - highest[row + 7u]);
        parts[own] = sum(s0);
        parts[own + 17u] = sum(s1);
        parts[own + 34u] = sum(s2);
        parts[own + 51u] = sum(s3);
        parts[own + 68u] = sum(s4);
        parts[own + 85u] = sum(s5);
        parts[own + 102u] = sum(s6);
        parts[own + 119u] = sum(s7);
        let at = tx * 64u + ty * 2u;
        tile[at] = vec4(s0.x, s1.x, s2.x, s3.x);
        tile[at + 1u] = vec4(s4.x, s5.x, s6.x, s7.x);
        tile[at + 16u] = vec4(s0.y, s1.y, s2.y, s3.y);
        tile[at + 17u] = vec4(s4.y, s5.y, s6.y, s7.y);
        tile[at + 32u] = vec4(s0.z, s1.z, s2.z, s3.z);
        tile[at + 33u] = vec4(s4.z, s5.z, s6.z, s7.z);
        tile[at + 48u] = vec4(s0.w, s1.w, s2.w, s3.w);
        tile[at + 49u] = vec4(s4.w, s5.w, s6.w, s7.w);
        o0 *= worth[row];
        o1 *= worth[row + 1u];
        o2 *= worth[row + 2u];
        o3 *= worth[row + 3u];
        o4 *= worth[row + 4u];
        o5 *= worth[row + 5u];
        o6 *= worth[row + 6u];
        o7 *= worth[row + 7u];
        if (WIDE) {
            w0 *= worth[row];
            w1 *= worth[row + 1u];
            w2 *= worth[row + 2u];
            w3 *= worth[row + 3u];
            w4 *= worth[row + 4u];
            w5 *= worth[row + 5u];
            w6 *= worth[row + 6u];
            w7 *= worth[row + 7u];
        }
        workgroupBarrier();
        if (thread < 64u) {
            var weights = 0.0;
            for (var i = 0u; i < 16u; i++) {
                weights += parts[thread * 17u + i];
            }
            total[thread] = total[thread] * worth[thread] + weights;
        }
        // Narrow heads leave some threads without a column.
        if (tx < shape.head) {
            for (var i = 0u; i < 64u; i++) {
                let token = (item + min(key + i, last)) * step;
                let a = tile[i * 16u + 2u * ty];
                let b = tile[i * 16u + 2u * ty + 1u];
                let v = joint[token + near];
                o0 = fma(vec4(a.x), v, o0);
                o1 = fma(vec4(a.y), v, o1);
                o2 = fma(vec4(a.z), v, o2);
                o3 = fma(vec4(a.w), v, o3);
                o4 = fma(vec4(b.x), v, o4);
                o5 = fma(vec4(b.y), v, o5);
                o6 = fma(vec4(b.z), v, o6);
                o7 = fma(vec4(b.w), v, o7);
                if (WIDE) {
                    let u = joint[token + far];
                    w0 = fma(vec4(a.x), u, w0);
                    w1 = fma(vec4(a.y), u, w1);
                    w2 = fma(vec4(a.z), u, w2);
                    w3 = fma(vec4(a.w), u, w3);
                    w4 = fma(vec4(b.x), u, w4);
                    w5 = fma(vec4(b.y), u, w5);
                    w6 = fma(vec4(b.z), u, w6);
                    w7 = fma(vec4(b.w), u, w7);
                }
            }
        }
    }
    workgroupBarrier();
    store(group, row, tx, o0);
    store(group, row + 1u, tx, o1);
    store(group, row + 2u, tx, o2);
    store(group, row + 3u, tx, o3);
    store(group, row + 4u, tx, o4);
    store(group, row + 5u, tx, o5);
    store(group, row + 6u, tx, o6);
    store(group, row + 7u, tx, o7);
    if (WIDE) {
        store(group, row, tx + 16u, w0);
        store(group, row + 1u, tx + 16u, w1);
        store(group, row + 2u, tx + 16u, w2);
        store(group, row + 3u, tx + 16u, w3);
        store(group, row + 4u, tx + 16u, w4);
        store(group, row + 5u, tx + 16u, w5);
        store(group, row + 6u, tx + 16u, w6);
        store(group, row + 7u, tx + 16u, w7);
    }
}

// One quad of a token, divided by the sum of its weights.
fn store(group: vec3<u32>, row: u32, column: u32, mixed: vec4<f32>) {
    let token = group.x * 64u + row;
    if (token < shape.tokens && column < shape.head) {
        let at = (group.z * shape.tokens + token) * shape.width + group.y * shape.head + column;
        result[at] = mixed / total[row];
    }
}
