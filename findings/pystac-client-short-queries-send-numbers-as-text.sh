#!/usr/bin/env bash
#
# What one would expect: Client.search(query=["eo:cloud_cover<10"]), the short form
# that pystac-client offers beside {"eo:cloud_cover": {"lt": 10}}, asks the same
# question, so a number in it is sent as a JSON number, and blanks around
# the operator do not matter.
#
# What happens instead: the value is sent as the string "10", and with blanks both
# the property name and the value carry the blanks: {"eo:cloud_cover ": {"lt": " 10"}}.
# Only the property "gsd" is turned into a number. A server that compares by JSON
# type, as the property's own schema (a number) suggests, finds nothing, or
# compares as text, where "9" is not below "10". Some servers convert and so hide it.
#
# Why it matters: the same search line finds cloud-free scenes at one catalogue and
# none at another, which reads as "there are no such scenes". It holds for
# view:sun_elevation, sat:relative_orbit and all other numbers but gsd.
#
# Cause: ItemSearch._format_query splits the text at the operator and calls
# float() only if the property is "gsd". The command line's help offers "properties of
# form KEY=VALUE" with these operators and names no such limit. An empty result of this form against another
# catalogue is reported (cmr-stac issue 239), not with this cause.
#
# Versions: pystac-client 0.9.1, pystac 1.15.2. Seen on 2026-11-30:
#   {'eo:cloud_cover': {'lt': 10}} sends {'eo:cloud_cover': {'lt': 10}}: ['clear']
#   ['eo:cloud_cover<10'] sends {'eo:cloud_cover': {'lt': '10'}}: []
#   ['gsd<20'] sends {'gsd': {'lt': 20.0}}: ['clear', 'cloudy']
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pystac==1.15.2 pystac-core==1.15.2 pystac-client==0.9.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import http.server
import json
import operator
import sys
import threading
import warnings

from pystac_client import Client

warnings.filterwarnings("ignore")
SCENES = {"clear": {"eo:cloud_cover": 4.5, "gsd": 10}, "cloudy": {"eo:cloud_cover": 80.0, "gsd": 10}}
COMPARE = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge, "eq": operator.eq}
asked = {}


def matches(properties, query):
    """Compare numbers with numbers and text with text, and nothing across."""
    for name, tests in query.items():
        have = properties.get(name)
        for test, want in tests.items():
            if have is None or isinstance(have, str) != isinstance(want, str) or not COMPARE[test](have, want):
                return False
    return True


class Api(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        root = f"http://127.0.0.1:{self.server.server_port}"
        base = "https://api.stacspec.org/v1.0.0/"
        self.answer({"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "api",
                     "conformsTo": [base + "core", base + "item-search", base + "item-search#query"],
                     "links": [{"rel": "self", "href": root}, {"rel": "root", "href": root},
                               {"rel": "search", "href": root + "/search", "method": "POST",
                                "type": "application/geo+json"}]})

    def do_POST(self):
        asked.clear()
        asked.update(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"])
        self.answer({"type": "FeatureCollection", "links": [], "features": [
            {"type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None, "links": [], "assets": {},
             "properties": {"datetime": "2026-06-01T10:00:00Z", **p}}
            for name, p in SCENES.items() if matches(p, asked)]})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Client.open(f"http://127.0.0.1:{server.server_port}")


def search(query):
    found = [i["id"] for i in client.search(query=query, method="POST").items_as_dicts()]
    print(f"{query} sends {asked}: {found}")
    return dict(asked), found


full = search({"eo:cloud_cover": {"lt": 10}})
short = search(["eo:cloud_cover<10"])
blanks = search(["eo:cloud_cover < 10"])
gsd = search(["gsd<20"])
server.shutdown()

if full[1] != ["clear"] or gsd[0] != {"gsd": {"lt": 20.0}} or gsd[1] != ["clear", "cloudy"]:
    sys.exit("A twin failed: the full form or the gsd form no longer sends a number.")
if short[0] == full[0] or blanks[0] == full[0]:
    sys.exit("The behaviour is gone: the short form now sends a number.")
if short[0] != {"eo:cloud_cover": {"lt": "10"}} or short[1]:
    sys.exit("The behaviour has changed: the short form sends something else than text.")
print("So the short form asked about the text '10', and the clear scene was not found.")
PY
