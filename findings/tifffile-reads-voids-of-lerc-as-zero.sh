#!/usr/bin/env bash
#
# One would expect tifffile and rasterio to read the same float raster from a
# GeoTIFF that GDAL wrote. With COMPRESS=LERC (or LERC_DEFLATE, LERC_ZSTD) they
# differ where the raster is NaN: rasterio gives NaN back, tifffile gives 0.0,
# although tifffile reads the same raster with DEFLATE rightly.
#
# LERC has no NaN: libtiff's codec stores a validity mask inside each LERC blob and
# puts NaN back on reading. tifffile calls imagecodecs.lerc_decode without asking
# for the mask, and the decoder leaves 0 where a pixel is not valid. That tag
# GDAL_NODATA says nan does not help, because no NaN is left to be found.
#
# It matters because LERC is common for elevation and backscatter: voids become sea
# level (or 0 in linear power), are counted as valid and pull means down. Readers
# with the same fault have been corrected elsewhere (xarray-spatial in May 2026).
#
# Versions: tifffile 2026.3.3, imagecodecs 2026.3.6, rasterio 1.4.4 (GDAL 3.10.3), numpy 2.4.6.
# Later ones of tifffile and imagecodecs, which need a later Python, were not tried.
#
# Output seen on 2026-11-30:
#   deflate: 100 void pixels by rasterio, 100 by tifffile; in the void tifffile has nan; all others equal is True.
#   lerc: 100 void pixels by rasterio, 0 by tifffile; in the void tifffile has 0.0; all others equal is True.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    tifffile==2026.3.3 imagecodecs==2026.3.6 rasterio==1.4.4 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import sys

import numpy
import rasterio
import tifffile

heights = numpy.arange(4096, dtype="float32").reshape(64, 64) + 100
heights[10:20, 10:20] = numpy.nan
shape = dict(driver="GTiff", height=64, width=64, count=1, dtype="float32", nodata=numpy.nan, crs="EPSG:4326",
             transform=rasterio.transform.from_origin(10, 50, 0.001, 0.001))
counts = {}
for compression in ("deflate", "lerc"):
    with rasterio.open("dem.tif", "w", compress=compression, **shape) as dataset:
        dataset.write(heights, 1)
    with rasterio.open("dem.tif") as dataset:
        by_rasterio = dataset.read(1)
    by_tifffile = tifffile.imread("dem.tif")
    counts[compression] = int(numpy.isnan(by_rasterio).sum()), int(numpy.isnan(by_tifffile).sum())
    valid = numpy.isfinite(heights)
    print(f"{compression}: {counts[compression][0]} void pixels by rasterio, {counts[compression][1]} by tifffile; "
          f"in the void tifffile has {by_tifffile[15, 15]}; all others equal is {bool((by_tifffile[valid] == heights[valid]).all())}.")
if counts != {"deflate": (100, 100), "lerc": (100, 0)} or by_tifffile[15, 15] != 0:
    sys.exit("This is no longer so: tifffile reads the voids of LERC files as NaN, or otherwise.")
PYTHON
