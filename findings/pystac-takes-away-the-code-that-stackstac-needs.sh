#!/usr/bin/env bash
#
# What one would expect: an item that holds the code of its coordinate system in both
# forms, "proj:code" for new readers and "proj:epsg" for old ones (version 1.2 of the
# projection extension allows both), can be stacked by stackstac, whether it is passed
# as read from the file or as a pystac.Item.
#
# What happens instead: pystac moves what it reads to version 2 of the extension and
# removes "proj:epsg" on the way, from the properties and from every asset, though
# "proj:code" is there already and nobody asked for another version. stackstac knows
# "proj:epsg" alone, so the same item stacks as a dict and is refused as an Item.
#
# Why it matters: whoever writes items for both generations of readers, as the
# extension's own text suggests, finds that opening them in the usual way
# (pystac.Item.from_file) undoes it. migrate=False, or from_dict without migration,
# keeps both; so does handing stackstac the dict, or epsg=.
#
# Versions: pystac 1.15.2, stackstac 0.5.1, rasterio 1.4.4. Seen on 2026-11-30:
#   as a dict: (1, 1, 64, 64)
#   as pystac.Item, not migrated: proj:epsg 32633, (1, 1, 64, 64)
#   as pystac.Item.from_file: proj:epsg None, ValueError: Cannot pick a common CRS
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 pandas==2.3.3 dask==2026.8.0 rasterio==1.4.4 stackstac==0.5.1 pyproj==3.7.2 pystac==1.15.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import json
import os
import sys
import warnings

import numpy as np
import pystac
import rasterio
import stackstac
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

warnings.filterwarnings("ignore")
with rasterio.open(
    "t.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="uint16",
    crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10), nodata=0,
) as dst:
    dst.write(np.full((64, 64), 2000, "uint16"), 1)
w, s, e, n = transform_bounds("EPSG:32633", "EPSG:4326", 500000, 4999360, 500640, 5000000)
code = {"proj:code": "EPSG:32633", "proj:epsg": 32633}
item = {
    "type": "Feature", "stac_version": "1.1.0", "id": "t", "links": [], "bbox": [w, s, e, n],
    "stac_extensions": ["https://stac-extensions.github.io/projection/v1.2.0/schema.json"],
    "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
    "properties": {"datetime": "2026-06-01T10:00:00Z", **code},
    "assets": {"red": {"href": os.path.abspath("t.tif"), "type": "image/tiff; application=geotiff", "roles": ["data"],
                       "proj:shape": [64, 64], "proj:transform": [10, 0, 500000, 0, -10, 5000000], **code}},
}
with open("item.json", "w") as file:
    json.dump(item, file)


def stack(label, what):
    left = "" if isinstance(what, dict) else f"proj:epsg {what.properties.get('proj:epsg')}, "
    try:
        seen = stackstac.stack([what], chunksize=64).shape
    except ValueError as error:
        seen = f"ValueError: {str(error)[:25]}"
    print(f"{label}: {left}{seen}")
    return seen


plain = stack("as a dict", item)
kept = stack("as pystac.Item, not migrated", pystac.Item.from_dict(json.load(open("item.json")), migrate=False))
read = stack("as pystac.Item.from_file", pystac.Item.from_file("item.json"))
if plain != (1, 1, 64, 64) or kept != plain:
    sys.exit("A twin failed: the item no longer stacks with its code.")
if read == plain:
    sys.exit("The behaviour is gone: an item read from its file stacks.")
if not str(read).startswith("ValueError: Cannot pick a common CRS"):
    sys.exit("The behaviour has changed: it fails in another way.")
print("So reading an item takes away the code by which it could be stacked.")
PY
