#!/usr/bin/env bash
#
# What one would expect: Client.collection_search(bbox=...) on a STAC API without
# the collection-search extension filters the collections on the client's side, as
# documented, and does so by the rules of the bbox that STAC takes from GeoJSON:
# west is greater than east where a box crosses the antimeridian, and six numbers
# are a box with heights.
#
# What happens instead: a collection of Fiji, 177 E to 178 W, is found neither by
# a box inside it nor by its own box, and a search box across the antimeridian
# misses a collection of Chukotka, 158 E to 180 E, that reaches into it. Only
# collections that run from -180 to 180 are found there. A collection extent of six numbers, or a search box of
# six, ends in "too many values to unpack (expected 4)".
#
# Why it matters: "no such collection" is a wrong decision about which data exist
# for Fiji, New Zealand's islands, Chukotka or the Aleutians. One collection with a
# 3D extent makes every spatial collection search on that API fail.
#
# Cause: bboxes_overlap in collection_search.py unpacks four numbers and compares
# them as on a plane. The documentation speaks of a limited filter, but names
# neither limit. No report of this was found in the package's tracker.
#
# Versions: pystac-client 0.9.1, pystac 1.15.2. Seen on 2026-11-30:
#   A box inside Italy finds ['italy']; a box inside Fiji finds [].
#   Fiji's own box finds []; a box from 175 E to 170 W finds only ['arctic'].
#   With a 3D extent: ValueError: too many values to unpack (expected 4)
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pystac==1.15.2 pystac-core==1.15.2 pystac-client==0.9.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import http.server
import json
import sys
import threading
import warnings

from pystac_client import Client

warnings.filterwarnings("ignore")
EXTENTS = {"italy": [6, 36, 19, 47], "fiji": [177, -20, -178, -12], "chukotka": [158, 62, 180, 71],
           "arctic": [-180, 60, 180, 90]}
served = ["italy", "fiji", "chukotka", "arctic"]


def collection(name, bbox):
    return {"type": "Collection", "stac_version": "1.0.0", "id": name, "description": name, "license": "CC0-1.0",
            "links": [], "extent": {"spatial": {"bbox": [bbox]},
                                    "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]}}}


class Api(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        root = f"http://127.0.0.1:{self.server.server_port}"
        if self.path.startswith("/collections"):
            body = {"collections": [collection(n, EXTENTS[n]) for n in served], "links": []}
        else:
            body = {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "api",
                    "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/collections"],
                    "links": [{"rel": "self", "href": root}, {"rel": "root", "href": root},
                              {"rel": "data", "href": root + "/collections"}]}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Client.open(f"http://127.0.0.1:{server.server_port}")


def find(label, bbox):
    try:
        found = [c.id for c in client.collection_search(bbox=bbox).collections()]
    except ValueError as error:
        found = f"ValueError: {error}"
    print(f"{label} {bbox} finds {found}")
    return found


italy = find("A box inside Italy", [10, 42, 12, 44])
inside = find("A box inside Fiji's waters", [178, -19, 179, -17])
own = find("Fiji's own box", [177, -20, -178, -12])
strait = find("A box from 175 E to 170 W", [175, 64, -170, 68])
coast = find("A box that ends at 180 E", [175, 64, 180, 68])
EXTENTS["heights"] = [6, 36, 0, 19, 47, 4000]
served.append("heights")
tall = find("With a collection that has a 3D extent, the box inside Italy", [10, 42, 12, 44])
server.shutdown()

if italy != ["italy"] or coast != ["chukotka", "arctic"]:
    sys.exit("A twin failed: a box on one side of the antimeridian no longer finds its collections.")
if "fiji" in inside or "fiji" in own or "chukotka" in strait:
    sys.exit("The behaviour is gone: the collections at the antimeridian are now found.")
if not str(tall).startswith("ValueError"):
    sys.exit("The behaviour is gone in part: a 3D extent no longer ends the search.")
print("So Fiji and Chukotka were missed, and one 3D extent ended the search for all.")
PY
