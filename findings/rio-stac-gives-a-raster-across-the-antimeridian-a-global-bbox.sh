#!/usr/bin/env bash
#
# What one would expect: rio-stac's create_stac_item gives a raster that lies across
# the antimeridian a footprint cut at 180 degrees (it does) and a bbox by GeoJSON's
# rule for such a footprint, with west greater than east: about 178.7 to -178.4.
#
# What happens instead: the footprint is right, a MultiPolygon of two parts, but the
# bbox runs from -180 to 180, a belt around the whole globe. It is taken
# as the least and greatest longitude of all the corners.
#
# Why it matters: a 300 km wide image of Fiji answers each bbox search at its latitude,
# in Zambia or Peru, and readers that take the centre of the bbox (solar-day
# grouping, map zoom, choice of UTM zone) place it at 0 degrees east, half the
# globe away. A catalogue's extent that is built from such items is global.
#
# Cause: get_dataset_geom calls rasterio's feature_bounds on the cut geometry. The
# tracker's issue 47 on such rasters was closed since the GEOMETRY is handled.
#
# Versions: rio-stac 0.12.0, rasterio 1.4.4. Seen on 2026-11-30:
#   Fiji: MultiPolygon, bbox [-180.0, -18.91, 180.0, -17.07]
#   A twin away from the line, one zone west: Polygon, bbox 2.9 degrees wide.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 rasterio==1.4.4 rio-stac==0.12.0 pystac==1.15.2 pystac-core==1.15.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rio_stac import create_stac_item


def describe(label, epsg):
    with rasterio.open(
        "t.tif", "w", driver="GTiff", width=300, height=200, count=1, dtype="uint8",
        crs=f"EPSG:{epsg}", transform=from_origin(50000, 8108000, 1000, 1000),
    ) as dst:
        dst.write(np.ones((200, 300), "uint8"), 1)
    item = create_stac_item("t.tif").to_dict()
    kind, rings = item["geometry"]["type"], item["geometry"]["coordinates"]
    parts = [p[0] for p in rings] if kind == "MultiPolygon" else [rings[0]]
    spans = [(round(min(x for x, _ in p), 2), round(max(x for x, _ in p), 2)) for p in parts]
    print(f"{label}: the footprint is a {kind} with parts from and to {spans}, "
          f"the bbox is {[round(v, 2) for v in item['bbox']]}.")
    return kind, spans, item["bbox"]


twin = describe("One zone west (UTM 60 S)", 32760)
fiji = describe("Across the line (UTM 1 S)", 32701)

if twin[0] != "Polygon" or not 2 < twin[2][2] - twin[2][0] < 4:
    sys.exit("The twin failed: away from the antimeridian the bbox is no longer that of the raster.")
if fiji[0] != "MultiPolygon" or len(fiji[1]) != 2:
    sys.exit("The set-up failed: the footprint is no longer cut at the antimeridian.")
if fiji[2][0] > fiji[2][2]:
    sys.exit("The behaviour is gone: the bbox now has west greater than east.")
if fiji[2][0] != -180 or fiji[2][2] != 180:
    sys.exit("The behaviour has changed: the bbox is neither a belt nor across the line.")
print(f"So a raster 300 km wide has a bbox 360 degrees wide, with its middle at {(fiji[2][0] + fiji[2][2]) / 2:.0f} degrees east.")
PY
