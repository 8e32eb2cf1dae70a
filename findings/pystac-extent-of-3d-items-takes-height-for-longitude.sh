#!/usr/bin/env bash
#
# What one would expect: pystac.Extent.from_items (and with it
# Collection.update_extent_from_items) gives a spatial extent that covers the
# items, also where their bbox has six numbers (west, south, lowest, east,
# north, highest), as GeoJSON and the STAC item specification allow and as
# elevation and point-cloud items often have.
#
# What happens instead: only the first four numbers of each bbox are taken, as
# if they were west, south, east, north. The lowest height becomes the eastern
# longitude and the eastern longitude becomes the northern latitude. Nothing is
# raised or warned about.
#
# Why it matters: a collection of elevation tiles is published with an extent
# that may miss its own items or lie outside the globe, so that a search by place
# never finds it. One 3D item among many 2D ones is enough.
#
# Cause: Extent.from_items loops over range(0, 4) of item.bbox.
# No report of this was found in the package's tracker.
#
# Versions: pystac 1.15.2, Python 3.11. Seen on 2026-11-30:
#   2D items: [[15.0, 45.0, 16.0, 46.0]]
#   3D items: [[15.0, 45.0, 100.0, 16.0]]
#   mixed:    [[15.0, 45.0, 100.0, 46.0]]
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pystac==1.15.2 pystac-core==1.15.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import datetime
import sys

import pystac


def item(name, west, heights=None):
    south, east, north = 45.0, west + 1, 46.0
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    bbox = [west, south, east, north]
    if heights:
        ring = [p + [heights[0]] for p in ring]
        bbox = [west, south, heights[0], east, north, heights[1]]
    return pystac.Item(
        id=name,
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=bbox,
        datetime=datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc),
        properties={},
    )


def extent(items):
    return pystac.Extent.from_items(items).to_dict()["spatial"]["bbox"]


flat = extent([item("flat", 15.0)])
tall = extent([item("tall", 15.0, (100.0, 900.0))])
mixed = extent([item("tall", 15.0, (100.0, 900.0)), item("flat", 20.0)])
print("The extent of a 2D item is", flat)
print("The extent of the same item with heights 100 m to 900 m is", tall)
print("The extent of that one and a 2D item from 20 to 21 degrees east is", mixed)

if flat != [[15.0, 45.0, 16.0, 46.0]]:
    sys.exit("The twin failed: the 2D item no longer gives its own bbox.")
if tall in ([[15.0, 45.0, 16.0, 46.0]], [[15.0, 45.0, 100.0, 16.0, 46.0, 900.0]]):
    sys.exit("The behaviour is gone: the 3D item now gives a right extent.")
if tall != [[15.0, 45.0, 100.0, 16.0]] or mixed != [[15.0, 45.0, 100.0, 46.0]]:
    sys.exit("The behaviour has changed: the extent is neither right nor as described.")
print("So the lowest height was taken for the eastern edge, and the eastern edge for the northern one.")
PY
