#!/usr/bin/env bash
#
# One would expect res="highest" of build_vrt to mean what -resolution highest
# means in gdalbuildvrt, on which the words are modelled: the smallest pixel among
# the sources. rio-vrt takes the largest number instead, so "highest" gives the
# coarsest pixels and "lowest" the finest. Its documentation only names the words.
#
# With 10 m and 20 m bands of Sentinel-2 the one who asks for the highest
# resolution silently gets a mosaic of 20 m, and the one who asks for the lowest
# gets one with four times the pixels.
#
# Versions: rio-vrt 0.3.1, rasterio 1.4.4 (GDAL 3.10.3), numpy 2.4.6.
#
# Output seen on 2026-11-30:
#   Sources of 10 m and 20 m, resolution asked highest: pixels of 20.0 m.
#   Sources of 10 m and 20 m, resolution asked lowest: pixels of 10.0 m.
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


write("b02.tif", numpy.ones((20, 20), "uint16"), "EPSG:32631", from_origin(500000, 200, 10, 10))
write("b05.tif", numpy.ones((10, 10), "uint16"), "EPSG:32631", from_origin(500200, 200, 20, 20))
seen = {}
for word in ("highest", "lowest"):
    build_vrt("mosaic.vrt", ["b02.tif", "b05.tif"], res=word)
    with rasterio.open("mosaic.vrt") as dataset:
        seen[word] = dataset.res[0]
    print(f"Sources of 10 m and 20 m, resolution asked {word}: pixels of {seen[word]} m.")
if seen != {"highest": 20.0, "lowest": 10.0}:
    sys.exit("This is no longer so: the highest resolution is the smallest pixel.")
PYTHON
