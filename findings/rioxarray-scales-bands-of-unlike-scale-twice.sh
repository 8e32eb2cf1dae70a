#!/usr/bin/env bash
#
# What one would expect: a file whose bands have scales of their own is opened by
# rioxarray with mask_and_scale=True, which gives physical values, and to_raster of
# that array gives a file with the same physical values. It does where all bands have
# one scale and offset.
#
# What happens instead: where they differ, the physical values are written into the
# file as stored numbers, rounded to the integer type of the source, and the bands' old
# scales and offsets are put beside them. Whoever applies them scales a second time:
# 280.0 K becomes 272.6 K, a height of 50 m becomes 5 m, a reflectance of 0.42 is
# stored as 0 and becomes -0.1. Nothing is raised or warned about; type, scales and
# bounds are those of the source.
#
# Why it matters: a file of reflectance, temperature, angles and elevation side by side
# is an ordinary thing (Landsat Collection 2's surface temperature, Sentinel-2 with AOT
# and water vapour). Open, clip or reproject, write is the everyday chain.
#
# Cause: reading scales each band by its own numbers, but these only go to
# encoding["scale_factor"] where all are alike; else they stay in encoding as "scales"
# and "offsets" for the writer, which sets them on the file without dividing by them.
# No report of this was found in the package's tracker.
#
# Versions: rioxarray 0.19.0, rasterio 1.4.4, xarray 2026.9.0. The same with rioxarray
# 0.23.0 and rasterio 1.5.2. Seen on 2026-11-30:
#   one scale:   opened [50.0, 28.0], written and read again [50.0, 28.0]
#   own scales:  opened [0.42, 280.0, 50.0], written and read again [-0.1, 272.6, 5.0]
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 rasterio==1.4.4 rioxarray==0.19.0 pyproj==3.7.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
import rasterio
import rioxarray
from rasterio.transform import from_origin

warnings.filterwarnings("ignore")


def chain(stored, scales, offsets):
    """Physical values as opened, and as they are in the file that is written from them."""
    count = len(stored)
    with rasterio.open(
        "in.tif", "w", driver="GTiff", width=8, height=8, count=count, dtype="uint16",
        crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10),
    ) as dataset:
        dataset.write(np.broadcast_to(np.array(stored, "uint16")[:, None, None], (count, 8, 8)))
        dataset.scales, dataset.offsets = scales, offsets
    opened = rioxarray.open_rasterio("in.tif", mask_and_scale=True)
    opened.rio.to_raster("out.tif")
    with rasterio.open("out.tif") as dataset:
        again = dataset.read()[:, 4, 4] * np.array(dataset.scales) + np.array(dataset.offsets)
        kind = dataset.dtypes[0]
    return [round(float(v), 3) for v in opened.values[:, 4, 4]], [round(float(v), 3) for v in again], kind


one = chain([500, 280], (0.1, 0.1), (0, 0))
own = chain([5200, 650, 500], (0.0001, 0.02, 0.1), (-0.1, 267.0, 0))
print("Bands of one scale: opened %s, written and read again %s, stored as %s." % one)
print("Bands of their own scales: opened %s, written and read again %s, stored as %s." % own)
if one[:2] != ([50.0, 28.0], [50.0, 28.0]):
    sys.exit("A twin failed: bands of one scale are not written as they were opened.")
if own[0] != [0.42, 280.0, 50.0]:
    sys.exit("A twin failed: bands of their own scales are not opened rightly.")
if own[1] == own[0]:
    sys.exit("This is no longer so: bands of their own scales are written as they were opened.")
if max(abs(a - b) for a, b in zip(own[1], [-0.1, 272.6, 5.0])) > 0.02:
    sys.exit("The behaviour has changed.")
print("So values that are scaled already carry the scales they were made with.")
PY
