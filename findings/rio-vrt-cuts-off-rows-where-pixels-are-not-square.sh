#!/usr/bin/env bash
#
# One would expect a VRT built over two tiles side by side to give the tiles' own
# values at every place, as gdalbuildvrt does. rio-vrt's build_vrt takes the width
# of a pixel for its height too (it appends res[0] to both lists), so with pixels
# that are not square the mosaic has too few rows or too many: it keeps its outer
# bounds, drops the southern rows and puts the others in the wrong place.
#
# Copernicus DEM has such pixels everywhere north of 50 N: at 60 N a tile of
# GLO-30 has 1800 columns and 3600 rows in one degree. Nothing is said, bounds and
# CRS look right, and heights come from up to half a degree elsewhere. Tiles with
# square pixels come out rightly.
#
# Versions: rio-vrt 0.3.1, rasterio 1.4.4 (GDAL 3.10.3), numpy 2.4.6.
#
# Output seen on 2026-11-30:
#   Tiles of 36 columns and 36 rows: the mosaic has 72 columns and 36 rows and bounds (10.0, 60.0, 12.0, 61.0).
#     At latitude 60.75 the tile says 60.736 and the mosaic 60.736.
#     At latitude 60.1 the tile says 60.097 and the mosaic 60.097.
#   Tiles of 18 columns and 36 rows: the mosaic has 36 columns and 18 rows and bounds (10.0, 60.0, 12.0, 61.0).
#     At latitude 60.75 the tile says 60.736 and the mosaic 60.875.
#     At latitude 60.1 the tile says 60.097 and the mosaic 60.542.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    rio-vrt==0.3.1 rasterio==1.4.4 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import sys

import numpy
import rasterio
from rasterio.transform import from_origin
from rio_vrt import build_vrt


def write(name, pixels, crs, transform, **more):
    with rasterio.open(name, "w", driver="GTiff", height=pixels.shape[0], width=pixels.shape[1], count=1,
                       dtype=pixels.dtype, crs=crs, transform=transform, **more) as dataset:
        dataset.write(pixels, 1)


def values_at(name, places):
    with rasterio.open(name) as dataset:
        return [float(value[0]) for value in dataset.sample(places)]


def compare(columns, rows):
    """Two tiles of one degree at 60 N, their values the latitude of each row."""
    latitudes = 61 - (numpy.arange(rows, dtype="float32") + 0.5) / rows
    for west in (10, 11):
        pixels = numpy.repeat(latitudes[:, None], columns, axis=1)
        write(f"{west}.tif", pixels, "EPSG:4326", from_origin(west, 61, 1 / columns, 1 / rows))
    build_vrt("mosaic.vrt", ["10.tif", "11.tif"])
    places = [(10.5, 60.75), (10.5, 60.1)]
    with rasterio.open("mosaic.vrt") as dataset:
        print(f"Tiles of {columns} columns and {rows} rows: the mosaic has {dataset.width} columns and {dataset.height} rows and bounds {tuple(round(b, 6) for b in dataset.bounds)}.")
    apart = []
    for place, one, other in zip(places, values_at("10.tif", places), values_at("mosaic.vrt", places)):
        print(f"  At latitude {place[1]} the tile says {one:.3f} and the mosaic {other:.3f}.")
        apart.append(abs(one - other))
    return max(apart)


square, narrow = compare(36, 36), compare(18, 36)
if square > 0.03 or narrow < 0.3:
    sys.exit("This is no longer so: pixels that are not square are mosaicked as they are.")
PYTHON
