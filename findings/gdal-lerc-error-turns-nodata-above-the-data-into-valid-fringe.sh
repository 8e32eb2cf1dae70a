#!/usr/bin/env bash
#
# What one would expect: writing an elevation GeoTIFF with LERC and a small
# MAX_Z_ERROR changes the heights by at most that much and leaves the declared
# nodata value alone. That holds for -9999, so one trusts it for any nodata value.
# GDAL's other lossy option of this kind, DISCARD_LSB, keeps nodata exact.
#
# What happens instead: if the nodata value lies ABOVE the data (9999 for heights,
# 65535 for UInt16), the nodata pixels beside valid ones are rounded like any
# other pixel. They come back as, say, 9998.99, no longer equal the nodata
# value, and a masked read gives them as valid heights. Pixels deeper inside the
# gap stay exact, so the mask looks right at a glance and only a fringe leaks.
#
# Why it matters: the fringe follows each coast and each data gap. The valid
# maximum jumps from 400 m to about 9999 m, and slopes and resampling are spoilt.
#
# Cause, as far as the output shows: LERC stores each small block as its minimum
# plus steps of twice the allowed error. A nodata value that is the minimum is
# exact, one that is the maximum is not, and no mask is passed for plain nodata.
#
# Versions: rasterio 1.4.4 wheels (GDAL 3.10.3), Python 3.11. Seen on 2026-11-30:
#   nodata -9999, LERC: 60000 of 60000 masked, valid maximum 400.
#   nodata 9999, LERC: 59616 of 60000 masked, valid maximum 9998.993.
#   nodata 65535, LERC: 59680 of 60000 masked; with DISCARD_LSB all 60000.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 rasterio==1.4.4
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys

import numpy as np
import rasterio
from rasterio.transform import from_origin

rng = np.random.default_rng(1)
heights = (300 + 100 * rng.random((512, 512))).astype("float32")
counts = rng.integers(100, 4000, (512, 512)).astype("uint16")


def leak(name, valid, nodata, **options):
    data = valid.copy()
    data[:200, :300] = nodata
    with rasterio.open(
        "t.tif", "w", driver="GTiff", width=512, height=512, count=1, dtype=data.dtype,
        crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10),
        nodata=nodata, tiled=True, **options,
    ) as dst:
        dst.write(data, 1)
    with rasterio.open("t.tif") as src:
        back = src.read(1, masked=True)
    masked = int(np.ma.getmaskarray(back).sum())
    print(f"{name}: {masked} of 60000 nodata pixels are masked, the valid maximum is {back.max():.3f}.")
    return 60000 - masked


lossy = dict(compress="LERC_DEFLATE", max_z_error=0.1)
exact = leak("Nodata -9999 with LERC and an error of 0.1", heights, -9999.0, **lossy)
lossless = leak("Nodata 9999 with LERC and no error allowed", heights, 9999.0, compress="LERC_DEFLATE")
above = leak("Nodata 9999 with LERC and an error of 0.1", heights, 9999.0, **lossy)
other = leak("Nodata 65535 with DISCARD_LSB=3", counts, 65535, compress="DEFLATE", discard_lsb=3)
whole = leak("Nodata 65535 with LERC and an error of 2", counts, 65535, compress="LERC", max_z_error=2)

if exact or lossless or other:
    sys.exit("A twin failed: nodata was lost where it used to be kept.")
if not above or not whole:
    sys.exit("The behaviour is gone: LERC with an allowed error now keeps nodata above the data.")
print(f"So {above} and {whole} nodata pixels came back as valid data, since their nodata value lies above the data.")
PY
