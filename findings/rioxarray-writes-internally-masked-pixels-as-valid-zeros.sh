#!/usr/bin/env bash
#
# What one would expect: rioxarray.open_rasterio(file, masked=True) reads an
# internal mask (GDAL's per-dataset mask, as in many cloud-optimised GeoTIFFs of
# imagery) and sets masked pixels to NaN. Writing that array with to_raster
# gives a file in which those pixels are still missing, or refuses.
#
# What happens instead: reading is right (float32 with NaN), but to_raster writes
# the source's uint8 with no mask and no nodata value, and each NaN becomes 0.
# Masked pixels are then plain valid zeros. A file with a nodata value, treated
# the same way, keeps its missing pixels.
#
# Why it matters: open, clip or reproject, write is the everyday chain. With
# classes, 0 is often a class of its own, with imagery it is valid black. The
# share of valid pixels goes from a half to all of them without an error.
#
# Cause: the source type is kept in encoding["dtype"], so the array is cast back
# on writing, but with no nodata value in the file there is no _FillValue to
# replace NaN by, and NaN cast to an integer is 0 here (the cast is undefined).
# No report of this was found in the package's tracker.
#
# Versions: rioxarray 0.19.0, rasterio 1.4.4, xarray 2026.9.0. Seen on 2026-11-30:
#   mask in, read:      half of the pixels are NaN
#   mask in, rewritten: uint8, nodata None, no pixel missing, values [0, 7]
#   nodata in, rewritten: uint8, nodata 255, half of the pixels missing
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
valid = np.zeros((40, 40), bool)
valid[:, 20:] = True


def make(name, nodata, mask):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        name, "w", driver="GTiff", width=40, height=40, count=1, dtype="uint8",
        crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10), nodata=nodata,
    ) as dst:
        dst.write(np.where(valid | mask, 7, 255).astype("uint8"), 1)
        if mask:
            dst.write_mask(valid)


def missing(name):
    with rasterio.open(name) as src:
        gone = float(np.ma.getmaskarray(src.read(1, masked=True)).mean())
        return gone, src.dtypes[0], src.nodata, [int(v) for v in np.unique(src.read(1))]


results = {}
for label, nodata, mask in (("internal mask", None, True), ("nodata value", 255, False)):
    make("in.tif", nodata, mask)
    array = rioxarray.open_rasterio("in.tif", masked=True)
    read = float(np.isnan(array.values).mean())
    array.rio.to_raster("out.tif")
    before, after = missing("in.tif"), missing("out.tif")
    print(f"With an {label}: " if mask else f"With a {label}: ", end="")
    print(f"{before[0]:.0%} missing in the file, {read:.0%} NaN as read, {after[0]:.0%} missing as rewritten "
          f"({after[1]}, nodata {after[2]}, values {after[3]}).")
    if before[0] != 0.5 or read != 0.5:
        sys.exit("The set-up failed: the missing half was not seen on reading.")
    results[label] = after

if results["nodata value"][0] != 0.5:
    sys.exit("The twin failed: a file with a nodata value no longer keeps its missing pixels.")
if results["internal mask"][0] != 0.0 or results["internal mask"][1] != "uint8":
    sys.exit("The behaviour is gone: the missing pixels of a masked file now survive writing.")
print("So the masked half came back as valid pixels.")
PY
