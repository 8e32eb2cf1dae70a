#!/usr/bin/env bash
#
# One would expect an MBTiles basemap of JPEG imagery to become a PMTiles archive of
# tile type JPEG. The MBTiles specification (1.3) has the format of such a file
# written "jpg" ("pbf, jpg, png, webp, or an IETF media type"); the converter of the
# Python package pmtiles only knows "jpeg" and gives "jpg" tile type 0, "unknown". So files that follow the specification lose their type, and a file
# with the word that the specification does not list keeps it.
#
# Nothing is said. Viewers and servers that go by the header (for a media type, or
# to tell imagery from vector tiles) refuse the archive or show nothing, although
# each tile in it is whole.
#
# Version: pmtiles 3.8.1.
#
# Output seen on 2026-11-30:
#   MBTiles of format png: tile type PNG (2) in the PMTiles header.
#   MBTiles of format jpeg: tile type JPEG (3) in the PMTiles header.
#   MBTiles of format jpg: tile type UNKNOWN (0) in the PMTiles header.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    pmtiles==3.8.1

venv/bin/python - <<'PYTHON'
import json
import sqlite3
import sys

from pmtiles.convert import mbtiles_to_pmtiles
from pmtiles.reader import MmapSource, Reader


def convert(name, tile, **fields):
    """Makes an MBTiles file of one tile and the fields, converts it and gives the header and metadata."""
    database = sqlite3.connect(f"{name}.mbtiles")
    database.execute("CREATE TABLE metadata (name TEXT, value TEXT)")
    database.execute("CREATE TABLE tiles (zoom_level INTEGER, tile_column INTEGER, tile_row INTEGER, tile_data BLOB)")
    fields = {"name": name, "minzoom": "0", "maxzoom": "0", "bounds": "-180,-85,180,85", **fields}
    database.executemany("INSERT INTO metadata VALUES (?, ?)", fields.items())
    database.execute("INSERT INTO tiles VALUES (0, 0, 0, ?)", (tile,))
    database.commit()
    database.close()
    mbtiles_to_pmtiles(f"{name}.mbtiles", f"{name}.pmtiles", None)
    with open(f"{name}.pmtiles", "rb") as file:
        reader = Reader(MmapSource(file))
        return reader.header(), reader.metadata()


jpeg = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
seen = {}
for word, tile in (("png", b"\x89PNG\r\n\x1a\n"), ("jpeg", jpeg), ("jpg", jpeg)):
    header, _ = convert(word, tile, format=word)
    seen[word] = header["tile_type"].name
    print(f"MBTiles of format {word}: tile type {seen[word]} ({header['tile_type'].value}) in the PMTiles header.")
if seen != {"png": "PNG", "jpeg": "JPEG", "jpg": "UNKNOWN"}:
    sys.exit("This is no longer so: the format jpg becomes the tile type JPEG.")
PYTHON
