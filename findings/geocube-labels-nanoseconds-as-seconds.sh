#!/usr/bin/env bash
#
# What one would expect: geocube's make_geocube burns a date column into a grid
# (datetime_measurements=[...]) and labels it with the unit of its numbers, so the
# label gives the date back, and the grid can be written and read as dates.
#
# What happens instead: the attribute says "seconds from 1970-01-01T00:00:00", but
# the numbers are NANOseconds. By the label, a sowing date of 1 May 2024 lies some
# 54 thousand million years ahead. The wording "from" is no CF unit ("since" is), so
# xarray's decoding quietly leaves the numbers as they are.
#
# Why it matters: a grid of acquisition, sowing or fire dates, written to a file, is
# read by someone else by its label. Dividing by a day of 86400 gives nonsense, and
# whoever compares two such grids in "seconds" is off by a factor of 1e9.
#
# Cause: vector_to_cube.py turns dates into numbers with pandas.to_numeric on
# datetime64[ns] and sets the unit "seconds from ..." in another place. A log
# message advises pandas.to_datetime(), which takes nanoseconds and so works.
# No report of this was found in the package's tracker.
#
# Versions: geocube 0.7.1, geopandas 1.2.0, pandas 2.3.3. Seen on 2026-11-30:
#   value 1.7145216e+18, units 'seconds from 1970-01-01T00:00:00'
#   read as seconds: about 54 thousand million years after 1970
#   read as nanoseconds: 2024-05-01
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 pandas==2.3.3 geopandas==1.2.0 rasterio==1.4.4 rioxarray==0.19.0 geocube==0.7.1 odc-geo==0.5.3 pyproj==3.7.2 shapely==2.2.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import logging
import sys
import warnings

import geopandas
import numpy as np
import pandas as pd
import xarray as xr
from geocube.api.core import make_geocube
from shapely.geometry import box

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
sown = pd.Timestamp("2024-05-01")
fields = geopandas.GeoDataFrame(
    {"sown": pd.to_datetime([sown, sown]), "seconds": [sown.timestamp()] * 2},
    geometry=[box(0, 0, 50, 100), box(50, 0, 100, 100)], crs="EPSG:32633",
)
cube = make_geocube(
    fields, measurements=["sown", "seconds"], datetime_measurements=["sown"], resolution=(-10, 10)
)
value = float(cube.sown.values[0, 0])
units = cube.sown.attrs.get("units")
print(f"The grid of sowing dates holds {value} and says its units are {units!r}.")
years = value / (365.25 * 86400)
print(f"Read as seconds, that is {years / 1e9:.0f} thousand million years after 1970.")
print(f"Read as nanoseconds, that is {pd.to_datetime(value).date()}.")
plain = float(cube.seconds.values[0, 0])
print(f"The twin, a column of seconds made by hand, holds {plain} and gives {pd.to_datetime(plain, unit='s').date()}.")
decoded = xr.decode_cf(cube).sown
print(f"After xarray's CF decoding the grid is still of type {decoded.dtype}.")

if pd.to_datetime(plain, unit="s") != sown:
    sys.exit("The twin failed: a column of numbers is no longer burnt as it is.")
if np.issubdtype(decoded.dtype, np.datetime64) or not str(units).startswith("seconds"):
    sys.exit("The behaviour is gone: the unit no longer says seconds, or the dates decode.")
if value == sown.timestamp():
    sys.exit("The behaviour is gone: the numbers are seconds now.")
if value != float(sown.value):
    sys.exit("The behaviour has changed: the numbers are neither seconds nor nanoseconds.")
print("So the label says seconds and the numbers are nanoseconds.")
PY
