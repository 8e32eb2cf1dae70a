#!/usr/bin/env bash
#
# What one would expect: rioxarray's reproject on a stack of dates (time, y, x)
# that has a nodata value warps each date as if it were alone, and pixels that
# are nodata on a date stay out of that date's interpolation.
#
# What happens instead: a pixel is left out only where EVERY date is nodata. Where
# one date is cloud-masked and another is clear, the masked date's -9999 is taken
# as a reading: bilinear and cubic blend it with neighbours, and even untouched
# nodata pixels come out as -10000, one beside the nodata value, so that no mask
# finds them. The same array warped date by date is right, and odc-geo's
# xr_reproject of the same stack is right. rasterio.warp.reproject on a 3D array
# does the same as rioxarray.
#
# Why it matters: reprojecting a Sentinel-2 time series after cloud masking is
# daily work. Each date gets impossible values and loses its mask, and it depends
# on what the OTHER dates hold.
#
# Cause: the stack reaches GDAL's warper as bands of one image, and rasterio sets
# UNIFIED_SRC_NODATA=YES. GDAL documents that option; that rioxarray turns dates
# into such bands is not said. The step from -9999 to -10000 is reported upstream
# (rasterio issue 3508, GDAL issue 13677); the blending across dates is not.
#
# Versions: rasterio 1.4.4 (GDAL 3.10.3), rioxarray 0.19.0, odc-geo 0.5.3,
# xarray 2026.9.0. Seen on 2026-11-30:
#   whole stack:   [-10000, -8777, -222, 1000]
#   date by date:  [-9999, 1000]
#   odc-geo:       [-9999, 1000]
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 rasterio==1.4.4 rioxarray==0.19.0 odc-geo==0.5.3 dask==2026.8.0 pyproj==3.7.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import logging
import sys

import numpy as np
import rioxarray  # noqa: F401
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_reproject
from rasterio.enums import Resampling
from rasterio.transform import from_origin

logging.disable(logging.CRITICAL)
NODATA = -9999
data = np.full((2, 40, 40), 1000, "int16")
data[0, :, 20:] = NODATA  # the first date is cloudy in the east, the second is clear
stack = xr.DataArray(
    data, dims=("time", "y", "x"),
    coords={"time": [0, 1], "y": 4999995 - 10.0 * np.arange(40), "x": 500005 + 10.0 * np.arange(40)},
).rio.write_crs(32633).rio.write_nodata(NODATA)
grid = from_origin(500005, 4999995, 15, 15)


def warp(array, how=Resampling.bilinear):
    return array.rio.reproject("EPSG:32633", transform=grid, shape=(20, 20), resampling=how)


def seen(values):
    return [int(v) for v in np.unique(values)]


together = warp(stack)
alone = warp(stack.isel(time=0))
odc = xr_reproject(stack, GeoBox((20, 20), grid, "EPSG:32633"), resampling="bilinear")
print("The cloudy date warped in the stack holds", seen(together[0]))
print("The cloudy date warped alone holds", seen(alone))
print("The cloudy date of the stack warped by odc-geo holds", seen(odc[0]))
print("The result says its nodata value is", together.rio.nodata)

if seen(alone) != [NODATA, 1000] or seen(odc[0]) != [NODATA, 1000]:
    sys.exit("A twin failed: warping one date alone, or with odc-geo, is no longer clean.")
bad = [v for v in seen(together[0]) if v not in (NODATA, 1000)]
if not bad:
    sys.exit("The behaviour is gone: the stack is now warped date by date.")
print(f"So the values {bad} count as valid, though the input held only 1000 and nodata.")
PY
