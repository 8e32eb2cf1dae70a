#!/usr/bin/env bash
#
# What one would expect: xrspatial's reproject of a raster in EPSG:28992 (Amersfoort / RD
# New, the national grid in which the Netherlands publish elevation and imagery) puts
# it where PROJ, GDAL and its own way with other national grids do, to within a pixel.
#
# What happens instead: it comes out some 114 m away: a pixel of 10 m is taken from 3
# columns west and 11 rows off. The shift from Amersfoort's datum to WGS 84 is left out.
# The British, Swiss, Belgian, Romanian and German grids, which have other datums too,
# come out right. Nothing is said, and the CRS of the result is the one asked for.
#
# Why it matters: AHN elevation, Dutch aerial imagery and parcels are laid over
# Sentinel-2 every day. 114 m is a whole field.
#
# Cause: a short built-in table of systems (_lite_crs.py) holds this one without datum.
# Its fast path projects on WGS 84, and the check that was added to keep other datums
# away from it (issues 2651 and 3697, both closed) trusts that table, so it never asks
# pyproj, although that is installed. No report of this system was found there.
#
# Versions: xarray-spatial 0.10.20, pyproj 3.7.2, Python 3.13 (3.12 or later is needed).
# Seen on 2026-11-30:
#   EPSG:28992 to EPSG:32631: 113.8 m from where pyproj has it
#   EPSG:27700 to EPSG:32630: 0.0 m from where pyproj has it
#   EPSG:31370 to EPSG:32631: 0.0 m from where pyproj has it
set -euo pipefail
python=""
for name in python3 python3.14 python3.13 python3.12; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then python=$name; break; fi
done
[ -n "$python" ] || { echo "This needs Python 3.12 or later." >&2; exit 1; }
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 pyproj==3.7.2 xarray-spatial==0.10.20
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
import pyproj
import xarray as xr
from xrspatial.reproject import reproject

warnings.filterwarnings("ignore")
SIDE, SIZE = 200, 10.0
seen = {}
for source, target, east, north in ((28992, 32631, 155000, 463000), (27700, 32630, 400000, 300000), (31370, 32631, 150000, 170000)):
    x = east + SIZE * (np.arange(SIDE) + 0.5)
    y = north - SIZE * (np.arange(SIDE) + 0.5)
    # Two rasters, whose pixels hold their own easting and northing.
    kept = []
    for values in (np.broadcast_to(x - east, (SIDE, SIDE)), np.broadcast_to((y - north)[:, None], (SIDE, SIDE))):
        raster = xr.DataArray(values.copy(), dims=("y", "x"), coords={"y": y, "x": x}, attrs={"crs": f"EPSG:{source}"})
        kept.append(reproject(raster, f"EPSG:{target}", resampling="bilinear"))
    row, column = kept[0].shape[0] // 2, kept[0].shape[1] // 2
    place = float(kept[0].x[column]), float(kept[0].y[row])
    true = pyproj.Transformer.from_crs(target, source, always_xy=True).transform(*place)
    off = float(kept[0][row, column]) + east - true[0], float(kept[1][row, column]) + north - true[1]
    seen[source] = float(np.hypot(*off))
    print(f"EPSG:{source} to EPSG:{target}: {seen[source]:.1f} m from where pyproj has it ({off[0]:.1f} m east, {off[1]:.1f} m north).")
if max(seen[27700], seen[31370]) > 1:
    sys.exit("A twin failed: the British or the Belgian grid is not where pyproj has it.")
if seen[28992] < 5:
    sys.exit("This is no longer so: the Dutch grid is where pyproj has it.")
if abs(seen[28992] - 113.8) > 2:
    sys.exit("The behaviour has changed.")
print("So the shift of datum is left out for the Dutch grid alone.")
PY
