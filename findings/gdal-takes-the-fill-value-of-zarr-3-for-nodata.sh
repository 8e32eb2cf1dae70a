#!/usr/bin/env bash
#
# What one would expect: an array that xarray writes to Zarr 3 is missing for GDAL where
# it is for xarray: where it equals the declared _FillValue, and nowhere if none is
# declared. Class 0 is a class, and 0 m is a height. In Zarr 3 each array MUST have a
# fill_value; it says what a chunk holds that was never written, and writers put 0
# there where nobody chose one.
#
# What happens instead: GDAL gives fill_value as the band's nodata value, and does not
# look at _FillValue. Zeros become missing: masked reads, means and warping leave
# them out. Pixels that ARE declared missing (255, -9999) become valid. xarray, which
# wrote the array, reads both rightly; it stopped taking fill_value for a mask in
# Zarr 3 for this very reason (xarray issue 10269).
#
# Why it matters: "clear" is 0 in most cloud masks, the sea is 0 m, and so is a
# difference where nothing changed. The same data written to Zarr 2 by the same call are
# read rightly, so moving a store from 2 to 3 changes each mean, with no message.
#
# GDAL's page on the driver does not say where nodata comes from. No report was found.
# GDAL 3.13 was not tried: no wheel of it with this driver was found.
#
# Versions: rasterio 1.5.2 (GDAL 3.12.2), xarray 2026.9.0, zarr 3.4.2, Python 3.13
# (3.12 or later is needed: the GDAL of earlier wheels cannot read Zarr 3 as it is now).
# Seen on 2026-11-30:
#   Zarr 2, GDAL: clouds nodata None, 100 % valid, mean 0.40.
#   Zarr 2, GDAL: marked nodata 255.0, 60 % valid, mean 7.00.
#   Zarr 3, GDAL: clouds nodata 0.0, 40 % valid, mean 1.00.
#   Zarr 3, GDAL: marked nodata 0.0, 100 % valid, mean 106.20.
#   Zarr 2 and 3, xarray: clouds mean 0.40, marked mean 7.00.
set -euo pipefail
python=""
for name in python3 python3.14 python3.13 python3.12; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then python=$name; break; fi
done
[ -n "$python" ] || { echo "This needs Python 3.12 or later." >&2; exit 1; }
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 zarr==3.4.2 rasterio==1.5.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
import rasterio
import xarray as xr

warnings.filterwarnings("ignore")
clouds = np.zeros((20, 20), "uint8")
clouds[:, 12:] = 1
heights = np.zeros((20, 20), "int16")
heights[:, 8:] = 10
marked = np.where(clouds == 1, 255, 7).astype("uint8")
dataset = xr.Dataset(
    {"clouds": (("y", "x"), clouds), "heights": (("y", "x"), heights), "marked": (("y", "x"), marked, {"_FillValue": np.uint8(255)})},
    coords={"y": 4999995 - 10 * np.arange(20.0), "x": 500005 + 10 * np.arange(20.0)},
)
seen = {}
for version in (2, 3):
    store = f"scene{version}.zarr"
    dataset.to_zarr(store, zarr_format=version, consolidated=False)
    with xr.open_zarr(store, consolidated=False) as back:
        means = tuple(round(float(back[name].mean()), 2) for name in ("clouds", "heights", "marked"))
    print(f"Zarr {version}, xarray: clouds mean {means[0]:.2f}, heights mean {means[1]:.2f}, marked mean {means[2]:.2f}.")
    if means != (0.4, 6.0, 7.0):
        sys.exit("A twin failed: xarray does not read back what it wrote.")
    for name in ("clouds", "heights", "marked"):
        with rasterio.open(f'ZARR:"{store}":/{name}') as band:
            values = band.read(1, masked=True)
            seen[version, name] = (band.nodata, round(100 * values.count() / values.size), round(float(values.mean()), 2))
        print(f"Zarr {version}, GDAL: {name} nodata %s, %d %% valid, mean %.2f." % seen[version, name])
right = {"clouds": (None, 100, 0.4), "heights": (None, 100, 6.0), "marked": (255.0, 60, 7.0)}
if any(seen[2, name] != right[name] for name in right):
    sys.exit("A twin failed: the same data in Zarr 2 are not read rightly.")
if all(seen[3, name] == right[name] for name in right):
    sys.exit("This is no longer so: GDAL has nodata where xarray declared it.")
if seen[3, "clouds"] != (0.0, 40, 1.0) or seen[3, "heights"] != (0.0, 60, 10.0) or seen[3, "marked"] != (0.0, 100, 106.2):
    sys.exit("The behaviour has changed.")
print("So, in Zarr 3, zeros that are data are missing, and what is declared missing is data.")
PY
