#!/usr/bin/env bash
#
# What one would expect: stackstac.stack rescales by the scale and offset in an item
# (rescale=True is its default), so an item written by STAC 1.0 and the same item
# written by STAC 1.1 give the same reflectance from the same file.
#
# What happens instead: scale and offset are read from "raster:bands" alone. STAC
# 1.1 with version 2 of the raster extension puts them into "raster:scale" and
# "raster:offset" on the asset or in "bands". There they are passed over without a
# word, and raw counts come back as if they were reflectance: 2000 where the
# 1.0 item gives 0.1. A second edge shows in the 1.0 form: the "nodata" that stands
# beside scale and offset in the same object is not used, so in a file without a
# nodata tag the fill value 0 turns into a reflectance of -0.1.
#
# Why it matters: a search over two collections, or one that a provider moved to STAC
# 1.1, mixes factors of 10000 and an offset in one stack, and the offset does not
# cancel in ratios such as NDVI.
#
# Cause: prepare.py reads asset.get("raster:bands") only, and of it only scale and
# offset. The documentation names raster:bands, and says nothing of items without.
# That nodata is left out is mentioned in a review of the change (pull request 202).
#
# Versions: stackstac 0.5.1, rasterio 1.4.4, xarray 2026.9.0. Seen on 2026-11-30:
#   STAC 1.0, raster:bands: [0.1]
#   STAC 1.1, on the asset: [2000.0]
#   STAC 1.1, in bands: [2000.0]
#   STAC 1.0, nodata 0 in raster:bands, file half 0: [-0.1, 0.1]
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 pandas==2.3.3 dask==2026.8.0 rasterio==1.4.4 stackstac==0.5.1 pyproj==3.7.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
import rasterio
import stackstac
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

warnings.filterwarnings("ignore")


def stack(label, version, asset, counts, in_file=0):
    with rasterio.open(
        "t.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="uint16",
        crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10), nodata=in_file,
    ) as dst:
        dst.write(counts, 1)
    w, s, e, n = transform_bounds("EPSG:32633", "EPSG:4326", 500000, 4999360, 500640, 5000000)
    raster = "v1.1.0" if version == "1.0.0" else "v2.0.0"
    item = {
        "type": "Feature", "stac_version": version, "id": "t", "links": [], "bbox": [w, s, e, n],
        "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                            f"https://stac-extensions.github.io/raster/{raster}/schema.json"],
        "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
        "properties": {"datetime": "2026-06-01T10:00:00Z", "proj:epsg": 32633,
                       "proj:shape": [64, 64], "proj:transform": [10, 0, 500000, 0, -10, 5000000]},
        "assets": {"red": {"href": "t.tif", "type": "image/tiff; application=geotiff", "roles": ["data"], **asset}},
    }
    out = stackstac.stack([item], chunksize=64).values
    seen = sorted({round(float(v), 6) for v in out[~np.isnan(out)]})
    print(f"{label}: {seen}")
    return seen


full = np.full((64, 64), 2000, "uint16")
half = full.copy()
half[:, 32:] = 0
old = {"raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": -0.1}]}
new = {"data_type": "uint16", "nodata": 0, "raster:scale": 0.0001, "raster:offset": -0.1}
v10 = stack("STAC 1.0, raster:bands", "1.0.0", old, full)
v11 = stack("STAC 1.1, on the asset", "1.1.0", new, full)
v11b = stack("STAC 1.1, in bands", "1.1.0", {"bands": [{"name": "red", **new}]}, full)
tagged = stack("STAC 1.0, file half 0, with a nodata tag", "1.0.0", old, half)
bare = stack("STAC 1.0, file half 0, nodata in the item only", "1.0.0", old, half, None)

if v10 != [0.1] or tagged != [0.1]:
    sys.exit("A twin failed: the STAC 1.0 item no longer gives a reflectance of 0.1.")
if v11 == [0.1] or v11b == [0.1]:
    sys.exit("The behaviour is gone: scale and offset of STAC 1.1 are now used.")
if v11 != [2000.0] or v11b != [2000.0] or bare != [-0.1, 0.1]:
    sys.exit("The behaviour has changed: the values are neither right nor as described.")
print("So the same file gives 0.1 or 2000 by the STAC version of its item, and -0.1 where the item says nodata.")
PY
