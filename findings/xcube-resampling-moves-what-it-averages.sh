#!/usr/bin/env bash
#
# What one would expect: xcube-resampling's resample_in_space, taking a 10 m grid to
# one of 20, 30 or 60 m with the same upper left corner, gives the mean of the pixels
# that lie in each large pixel (its default for floating-point numbers is "mean").
#
# What happens instead: each mean is taken over pixels further east and south, by half
# of the difference of the two pixel sizes: 5 m at 20 m, 10 m at 30 m, 25 m at 60 m.
# The image moves north-west by as much, while coordinates and bounds are the right
# ones. Its last row and column are made of what is left at the edge. Nothing is said.
# To a finer grid, or to one of the same pixel size, it is exact.
#
# Why it matters: bands of 10 m brought to 60 m do not lie on bands that are of 60 m
# by themselves; indices, cloud edges, fields and coasts are wrong by nearly half a
# pixel. xarray-eopf (0.3.1) makes its analysis mode for Sentinel-2 with this: with
# resolution=60, band 8 was displaced by 25 m against the native bands beside it.
#
# Cause: _downscale in affine.py divides the scale of the affine matrix for the finer
# grid in between, but leaves its offset, which belongs to the CENTRE of the first
# large pixel; so the fine pixels begin there, and not at that pixel's edge.
# No report of this was found.
#
# Versions: xcube-resampling 0.3.6, xarray 2026.9.0, numpy 2.4.6. Seen on 2026-11-30:
#   to 10 m: moved by 0.0 m east, 0.0 m south (default)
#   to 20 m: moved by 5.0 m east, 5.0 m south (default)
#   to 30 m: moved by 10.0 m east, 10.0 m south (default)
#   to 60 m: moved by 25.0 m east, 25.0 m south (default)
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 dask==2026.8.0 pyproj==3.7.2 xcube-resampling==0.3.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
import pyproj
import xarray as xr
from xcube_resampling import resample_in_space
from xcube_resampling.gridmapping import GridMapping

warnings.filterwarnings("ignore")
SIDE, EAST, NORTH = 240, 500000, 5000000  # pixels of 10 m, upper left corner
x = EAST + 10 * (np.arange(SIDE) + 0.5)
y = NORTH - 10 * (np.arange(SIDE) + 0.5)
# Each pixel holds how far its own centre lies east or south of the corner.
source = xr.Dataset(
    {
        "east": (("y", "x"), np.broadcast_to(x - EAST, (SIDE, SIDE)).copy()),
        "south": (("y", "x"), np.broadcast_to((NORTH - y)[:, None], (SIDE, SIDE)).copy()),
    },
    coords={"x": x, "y": y, "crs": ((), 0, pyproj.CRS("EPSG:32633").to_cf())},
).chunk()
for name in ("east", "south"):
    source[name].attrs["grid_mapping"] = "crs"

moved = {}
for size in (10, 20, 30, 60):
    n = SIDE * 10 // size
    grid = GridMapping.regular_from_bbox((EAST, NORTH - 10 * SIDE, EAST + 10 * SIDE, NORTH), size, "EPSG:32633")
    result = resample_in_space(source, target_gm=grid).compute()
    if result.sizes["x"] != n or abs(float(result.x[0]) - EAST - size / 2) > 1e-6 or abs(NORTH - float(result.y[0]) - size / 2) > 1e-6:
        sys.exit("A twin failed: the grid asked for is another one.")
    inner = (slice(2, -2), slice(2, -2))
    # What a mean over the right pixels would hold: the centre of the large pixel.
    plain = source.coarsen(x=size // 10, y=size // 10).mean().compute() if size > 10 else source.compute()
    if abs(plain.east.values[inner] - (plain.x.values - EAST)[None, 2:-2]).max() > 1e-6:
        sys.exit("A twin failed: means of blocks are not the centres of the blocks.")
    off = (result.east - plain.east).values[inner], (result.south - plain.south).values[inner]
    moved[size] = [round(float(o.mean()), 6) for o in off]
    if max(o.max() - o.min() for o in off) > 1e-6:
        sys.exit("The behaviour has changed: the shift is not the same everywhere.")
    print(f"From 10 m to {size} m: moved by {moved[size][0] + 0.0} m east, {moved[size][1] + 0.0} m south (default).")
if moved[10] != [0, 0]:
    sys.exit("A twin failed: the same grid is not given back as it is.")
if moved != {10: [0, 0], 20: [5, 5], 30: [10, 10], 60: [25, 25]}:
    sys.exit("This is no longer so: means lie where the grid says, or elsewhere.")
print("So each mean is over pixels further south-east than the pixel it is written into.")
PY
