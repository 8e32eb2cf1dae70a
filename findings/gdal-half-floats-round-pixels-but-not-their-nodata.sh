#!/usr/bin/env bash
#
# What one would expect: an elevation model of float32 with nodata -9999, copied to a
# GeoTIFF of half floats (NBITS=16, or type Float16 since GDAL 3.11) to save space, has
# the same missing pixels afterwards, or is refused. GDAL clamps a nodata value that an
# integer type cannot hold, and spares nodata pixels when it clears bits (DISCARD_LSB).
#
# What happens instead: half floats near 10000 lie 8 apart, so the PIXELS become
# -9992 (-10000 since GDAL 3.11), while the file goes on to declare -9999. No pixel
# equals it: everything is valid. Masked means and the warper take it for a height.
# GDAL's own statistics look right: they round the nodata value first (3.13.3).
# With -32768, which a half float holds, the same copy is right.
#
# Why it matters: -9999 is the commonest nodata value there is, and half floats are
# offered for just such data: heights, backscatter, indices, embeddings. Gaps turn
# into cliffs of 10 km, and an average over them spoils each pixel along their edges.
#
# It is known for float32 and values such as -3.4e38, which GDAL adjusts to the type.
# No report of it was found for half floats.
#
# Versions: rasterio 1.4.4 (GDAL 3.10.3), numpy 2.4.6. The same with type Float16 in
# rasterio 1.5.2 (GDAL 3.12.2) and in GDAL 3.13.3. Seen on 2026-11-30:
#   nodata -9999, float32: 50 % valid, mean 300.0; warped by average: lowest 300.0
#   nodata -9999, half: 100 % valid, mean -4846.0; warped by average: lowest -9992.0
#   nodata -32768, half: 50 % valid, mean 300.0; warped by average: lowest 300.0
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
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT


def look(name):
    """Share of valid pixels, their mean, and the lowest valid one after warping to 25 m by average."""
    with rasterio.open(name) as dataset:
        values = dataset.read(1, masked=True)
        with WarpedVRT(dataset, resampling=Resampling.average, width=26, height=26, transform=from_origin(500000, 5000000, 25, 25)) as warped:
            lowest = float(warped.read(1, masked=True).min())
        return dataset.nodata, round(100 * values.count() / values.size), round(float(values.mean(dtype="float64")), 1), round(lowest, 1)


seen = {}
for nodata in (-9999, -32768):
    heights = np.full((64, 64), 300, "float32")
    heights[:, :32] = nodata
    with rasterio.open(
        "float32.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="float32", nodata=nodata,
        crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10),
    ) as dataset:
        dataset.write(heights, 1)
    rasterio.shutil.copy("float32.tif", "half.tif", driver="GTiff", NBITS=16)
    for kind in ("float32", "half"):
        seen[nodata, kind] = look(f"{kind}.tif")
        print(f"Pixels of {nodata}, {kind}: declared nodata %s, %d %% valid, mean %s; warped by average: lowest %s." % seen[nodata, kind])
right = (50, 300.0, 300.0)
if seen[-9999, "float32"][1:] != right or seen[-32768, "float32"][1:] != right or seen[-32768, "half"][1:] != right:
    sys.exit("A twin failed: float32, or a nodata value that half floats can hold, is not masked.")
if seen[-9999, "half"][1:] == right:
    sys.exit("This is no longer so: pixels that were nodata are nodata in half floats.")
if seen[-9999, "half"] != (-9999.0, 100, -4846.0, -9992.0):
    sys.exit("The behaviour has changed.")
print("So all that was missing is valid ground far below the sea, and the file still says nodata -9999.")
PY
