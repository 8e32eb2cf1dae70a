#!/usr/bin/env bash
#
# What one would expect: Raster.ij2xy of geoutils gives the centre of a pixel where the
# file says that a pixel is a point (AREA_OR_POINT=Point, as Copernicus DEM and radar
# images of ASF HyP3 do), and interp_points at that place gives that pixel's own value.
# Its documentation says so: "shifts to center of pixel coordinates if ... Point".
#
# What happens instead: it shifts the other way. The centre of the first pixel is given
# half a pixel OUTSIDE the raster, north-west of its corner, so each is a whole pixel
# from where GDAL has it. interp_points at a pixel's true centre returns its neighbour
# south-east, exactly, without a sign of interpolation. reduce_points, of the same
# object at the same place, gives the right pixel.
#
# Why it matters: heights of a 30 m DEM at control points (ICESat-2, GNSS, xDEM's
# validation and co-registration) are read one pixel, 42 m along the diagonal, away
# from them; on a slope of 20 degrees that is up to 15 m of height. A point is the
# default since shift_area_or_point is True.
#
# (Where a pixel is an area, the same functions take its upper left corner for its
# place, half a pixel off. That one is documented.)
#
# Cause: _ij2xy and _xy2ij in georeferencing.py take 0.5 from the indices, and add it,
# where it should be the other way round. No report of this was found in the tracker.
#
# Versions: geoutils 0.2.5, rasterio 1.4.4, numpy 2.4.6. Seen on 2026-11-30:
#   GDAL: pixel (7, 5) has its centre at 500165.0, 4999775.0 and holds 705
#   geoutils, ij2xy: 500135.0, 4999805.0; of pixel (0, 0): 499985.0, 5000015.0
#   geoutils at that centre: reduce_points 705, interp_points 806
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 rasterio==1.4.4 geoutils==0.2.5
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import geoutils
import numpy as np
import rasterio
from rasterio.transform import from_origin

warnings.filterwarnings("ignore")
# A pixel of row r and column c holds 100 r + c.
heights = (100 * np.arange(40)[:, None] + np.arange(40)[None, :]).astype("float32")
with rasterio.open(
    "dem.tif", "w", driver="GTiff", width=40, height=40, count=1, dtype="float32",
    crs="EPSG:32633", transform=from_origin(500000, 5000000, 30, 30),
) as dataset:
    dataset.update_tags(AREA_OR_POINT="Point")
    dataset.write(heights, 1)
with rasterio.open("dem.tif") as dataset:
    x, y = (float(np.squeeze(v)) for v in dataset.xy(7, 5))
    held = float(next(iter(dataset.sample([(x, y)])))[0])
    kind, bounds = dataset.tags()["AREA_OR_POINT"], dataset.bounds

raster = geoutils.Raster("dem.tif")
at = (np.array([x]), np.array([y]))
place = tuple(float(np.squeeze(v)) for v in raster.ij2xy(7, 5))
first = tuple(float(np.squeeze(v)) for v in raster.ij2xy(0, 0))
reduced = float(np.squeeze(raster.reduce_points(at, as_array=True)))
between = {method: float(np.squeeze(raster.interp_points(at, as_array=True, method=method))) for method in ("nearest", "linear")}
print(f"GDAL: pixel (7, 5) has its centre at {x}, {y} and holds {held:.0f}; bounds {tuple(bounds)}.")
print(f"geoutils: ij2xy gives {place[0]}, {place[1]}, and for pixel (0, 0) {first[0]}, {first[1]}.")
print(f"geoutils at that centre: reduce_points {reduced:.0f}, interp_points {between['linear']:.0f} (nearest {between['nearest']:.0f}).")

if kind != "Point" or raster.area_or_point != "Point" or (x, y, held) != (500165.0, 4999775.0, 705.0) or reduced != held:
    sys.exit("A twin failed: GDAL and reduce_points no longer agree on a pixel that is a point.")
if between["linear"] == held or place == (x, y):
    sys.exit("This is no longer so: the pixel's own value is given at its own centre.")
if place != (x - 30, y + 30) or between["linear"] != 806 or first[0] >= bounds.left:
    sys.exit("The behaviour has changed: the shift is another one.")
print("So a pixel that is a point is read a whole pixel away from where it is.")
PY
