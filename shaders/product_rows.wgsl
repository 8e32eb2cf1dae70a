// Rows of A lie in memory: a row is `split` quads of `first`, then the same row of `second` if there is more (the long
// skips' [x ; skip], without making it).

// Where a row begins in both, and whether it exists.
fn place(row: u32) -> vec4<u32> {
    let item = row / shape.per_item;
    let own = item * shape.first_step + row % shape.per_item;
    let exists = select(0u, 1u, row < shape.rows);
    return vec4(shape.first_base + own * shape.split, own * (shape.inner - shape.split), 0u, exists);
}

fn value_at(row: vec4<u32>, k: u32) -> vec4<f32> {
    if (row.w == 0u || k >= shape.inner) {
        return vec4(0.0);
    }
    if (k < shape.split) {
        return first[row.x + k];
    }
    return second[row.y + k - shape.split];
}
