// Rows of A are the 3×3 neighbourhoods of an image's pixels, gathered while they are read: nine taps row by row, in each
// the pixel's channels. Images lie as (item, row, column, channel); zeros surround them.

// The first pixel of the item, the tap's row and column above and left of the pixel (bits of signed numbers), and
// whether the row exists.
fn place(row: u32) -> vec4<u32> {
    let item = row / shape.per_item;
    let own = row % shape.per_item;
    let y = own / shape.out_width * shape.stride - shape.margin;
    let x = own % shape.out_width * shape.stride - shape.margin;
    return vec4(item * shape.height * shape.width, y, x, select(0u, 1u, row < shape.rows));
}

fn value_at(row: vec4<u32>, k: u32) -> vec4<f32> {
    let tap = k / shape.channels;
    // Above and left of the image these wrap around, and so lie beyond its far side.
    let y = row.y + tap / 3u;
    let x = row.z + tap % 3u;
    let inside = y < (shape.height << shape.doubled) && x < (shape.width << shape.doubled);
    if (row.w == 0u || k >= shape.inner || !inside) {
        return vec4(0.0);
    }
    let pixel = row.x + (y >> shape.doubled) * shape.width + (x >> shape.doubled);
    return first[pixel * shape.channels + k % shape.channels];
}
