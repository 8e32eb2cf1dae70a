#!/usr/bin/env bash
#
# One would expect a mosaic of files that all say scale 0.0001 and offset -0.1 (as
# files of Sentinel-2 L2A since processing baseline 04.00 may) to say the same, as
# gdalbuildvrt has it when all sources agree. rio-vrt's build_vrt writes the stored
# numbers through but puts Scale 1.0 and Offset 0.0 into every band of the VRT, so
# it does not merely leave the meaning out, it states another one.
#
# Nodata is carried over and the numbers are the same, which makes it easy to miss:
# a reader that applies scale and offset gets reflectance 0.05 from a tile and 1500
# from the VRT over the same tile.
#
# Versions: rio-vrt 0.3.1, rasterio 1.4.4 (GDAL 3.10.3), numpy 2.4.6.
#
# Output seen on 2026-11-30:
#   tile0.tif: stored 1500, scale 0.0001, offset -0.1, nodata 0.0, so reflectance 0.0500.
#   tile1.tif: stored 1500, scale 0.0001, offset -0.1, nodata 0.0, so reflectance 0.0500.
#   mosaic.vrt: stored 1500, scale 1.0, offset 0.0, nodata 0.0, so reflectance 1500.0000.
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


for column in (0, 1):
    name = f"tile{column}.tif"
    write(name, numpy.full((10, 10), 1500, "uint16"), "EPSG:32631", from_origin(500000 + column * 100, 200, 10, 10), nodata=0)
    with rasterio.open(name, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,), (-0.1,)
build_vrt("mosaic.vrt", ["tile0.tif", "tile1.tif"])
seen = {}
for name in ("tile0.tif", "tile1.tif", "mosaic.vrt"):
    with rasterio.open(name) as dataset:
        stored, scale, offset = int(dataset.read(1)[5, 5]), dataset.scales[0], dataset.offsets[0]
        seen[name] = stored * scale + offset
        print(f"{name}: stored {stored}, scale {scale}, offset {offset}, nodata {dataset.nodata}, so reflectance {seen[name]:.4f}.")
if abs(seen["tile1.tif"] - 0.05) > 1e-9 or seen["mosaic.vrt"] != 1500:
    sys.exit("This is no longer so: scale and offset are carried into the mosaic.")
PYTHON
