#!/usr/bin/env bash
#
# One would expect the masked array that async-geotiff gives to hide the pixels
# that equal the file's nodata value, as its documentation says and as it does for
# a number such as -9999. When the declared nodata is NaN, which is the usual
# choice for float rasters (backscatter, elevation, indices), it hides nothing:
# 0.5.1 compares with numpy.ma.masked_equal, and NaN equals nothing.
#
# The same pixels declared with -9999 are hidden, so code tested with one DEM
# counts, averages or fills wrongly with another: a mean over what is "valid"
# becomes NaN, and a share of valid pixels becomes 100 %. GDAL and rasterio treat
# NaN in the GDAL_NODATA tag as a nodata value like any other.
#
# Versions: async-geotiff 0.5.1, async-tiff 0.7.2, tifffile 2026.3.3, numpy 2.4.6.
#
# Output seen on 2026-11-30:
#   Nodata declared -9999 and understood as -9999.0: 1024 of 1024 void pixels hidden, mean of the rest 250.0.
#   Nodata declared nan and understood as nan: 0 of 1024 void pixels hidden, mean of the rest nan.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    async-geotiff==0.5.1 async-tiff==0.7.2 tifffile==2026.3.3 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import asyncio
import os
import sys

import numpy
import tifffile
from async_geotiff import GeoTIFF
from async_tiff.store import LocalStore


def write(name, bands, nodata=None, **options):
    """Writes a tiled GeoTIFF in WGS 84 with pixels of one degree, from 10 E and 50 N."""
    tags = [
        (33550, "d", 3, (1.0, 1.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 10.0, 50.0, 0.0), True),
        (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326), True),
    ]
    if nodata is not None:
        tags.append((42113, "s", 0, nodata, True))
    tifffile.imwrite(name, bands, tile=(64, 64), photometric="minisblack", metadata=None, extratags=tags, **options)


async def read(name):
    geotiff = await GeoTIFF.open(name, store=LocalStore(os.getcwd()))
    return await geotiff.read()


heights = numpy.full((128, 128), 250, "float32")
hidden = {}
for text, value in (("-9999", -9999.0), ("nan", numpy.nan)):
    dem = heights.copy()
    dem[:32, :32] = value
    write(f"dem{text}.tif", dem, nodata=text, compression="zlib")
    raster = asyncio.run(read(f"dem{text}.tif"))
    masked = raster.as_masked()
    hidden[text] = int(numpy.ma.count_masked(masked))
    print(f"Nodata declared {text} and understood as {raster.nodata}: {hidden[text]} of 1024 void pixels hidden, mean of the rest {masked.mean()}.")
if hidden != {"-9999": 1024, "nan": 0}:
    sys.exit("This is no longer so: NaN as nodata is hidden as other values are.")
PYTHON
