#!/usr/bin/env python3
"""Makes assets/basemap/world.pmtiles from a plate carrée picture of the world (NASA Blue Marble Next Generation).

    pip install pillow numpy pmtiles
    scripts/make_basemap.py bmng.jpg assets/basemap/world.pmtiles
"""

import io
import sys

import numpy as np
from PIL import Image
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

TILE, MAX_ZOOM, QUALITY = 256, 5, 72


def mercator(image: Image.Image, zoom: int) -> Image.Image:
    """The whole world in web mercator, 256·2^zoom pixels a side."""
    side = TILE << zoom
    width, height = image.size
    # Rows of the result, as rows of the source.
    y = (np.arange(side) + 0.5) / side
    latitude = np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * y))))
    rows = (90 - latitude) / 180 * height - 0.5
    wide = np.asarray(image.resize((side, height), Image.LANCZOS), dtype=np.float32)
    below = np.clip(np.floor(rows).astype(int), 0, height - 2)
    share = (rows - below).astype(np.float32)[:, None, None]
    if side < height:  # average instead of skipping rows
        edges = np.searchsorted(np.arange(height) + 0.5, np.concatenate([[rows[0]], (rows[1:] + rows[:-1]) / 2, [rows[-1]]]))
        sums = np.concatenate([np.zeros((1, *wide.shape[1:])), np.cumsum(wide, axis=0, dtype=np.float64)])
        first, last = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
        out = (sums[np.minimum(last, height)] - sums[first]) / (last - first)[:, None, None]
    else:
        out = wide[below] * (1 - share) + wide[below + 1] * share
    return Image.fromarray(np.clip(out + 0.5, 0, 255).astype(np.uint8))


def main() -> None:
    source, target = sys.argv[1:]
    image = Image.open(source).convert("RGB")
    tiles = {}
    for zoom in range(MAX_ZOOM + 1):
        world = mercator(image, zoom)
        for x in range(1 << zoom):
            for y in range(1 << zoom):
                tile = world.crop((x * TILE, y * TILE, (x + 1) * TILE, (y + 1) * TILE))
                data = io.BytesIO()
                tile.save(data, "JPEG", quality=QUALITY, optimize=True)
                tiles[zxy_to_tileid(zoom, x, y)] = data.getvalue()
    with open(target, "wb") as file:
        writer = Writer(file)
        for tile_id in sorted(tiles):
            writer.write_tile(tile_id, tiles[tile_id])
        header = {
            "tile_type": TileType.JPEG, "tile_compression": Compression.NONE,
            "min_zoom": 0, "max_zoom": MAX_ZOOM, "center_zoom": 2, "center_lon_e7": 0, "center_lat_e7": 0,
            "min_lon_e7": -1800000000, "max_lon_e7": 1800000000,
            "min_lat_e7": -850511287, "max_lat_e7": 850511287,
        }
        writer.finalize(header, {"name": "Blue Marble", "attribution": "Imagery: NASA Blue Marble"})


main()
