// Draws the spread over its place on the map, through a colour map.

struct View {
    // Corners in clip space: north-west, north-east, south-east, south-west.
    corners: array<vec4f, 4>,
    // Columns and rows of the raster.
    size: vec2u,
    // Values at both ends of the colour map.
    range: vec2f,
    opacity: f32,
    padding: f32,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> spread: array<f32>;
@group(0) @binding(2) var<storage, read> colours: array<vec4f>;

struct Corner {
    @builtin(position) position: vec4f,
    @location(0) at: vec2f,
}

@vertex
fn place(@builtin(vertex_index) index: u32) -> Corner {
    var order = array<u32, 6>(0u, 1u, 2u, 0u, 2u, 3u);
    var at = array<vec2f, 4>(vec2f(0.0, 0.0), vec2f(1.0, 0.0), vec2f(1.0, 1.0), vec2f(0.0, 1.0));
    let corner = order[index];
    return Corner(vec4f(view.corners[corner].xy, 0.0, 1.0), at[corner]);
}

@fragment
fn colour(corner: Corner) -> @location(0) vec4f {
    let pixel = min(vec2u(corner.at * vec2f(view.size)), view.size - 1u);
    let value = spread[pixel.y * view.size.x + pixel.x];
    // Nothing was observed there to compare with.
    if value < 0.0 {
        return vec4f(0.0);
    }
    let width = max(view.range.y - view.range.x, 1e-30);
    let position = clamp((value - view.range.x) / width, 0.0, 1.0) * f32(arrayLength(&colours) - 1u);
    let left = u32(position);
    let right = min(left + 1u, arrayLength(&colours) - 1u);
    // The window blends premultiplied colours in gamma space.
    return vec4f(mix(colours[left].rgb, colours[right].rgb, fract(position)) * view.opacity, view.opacity);
}
