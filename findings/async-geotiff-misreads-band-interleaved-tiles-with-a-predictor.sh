#!/usr/bin/env bash
#
# One would expect a GeoTIFF of several bands to give the same numbers whether its
# bands lie pixel by pixel (PlanarConfiguration 1) or one after the other
# (PlanarConfiguration 2). async-geotiff 0.5.1 (with async-tiff 0.7.2) reads the
# second kind wrongly, without any error, as soon as the file has a predictor and
# more than one band: tiles of one band are un-predicted as if the samples of all
# bands still stood side by side in them.
#
# TIFF 6.0 (section 14) has the difference taken between neighbours of the same
# sample; in planar files that is the pixel next to it, so the stride must be 1.
# Without a predictor, with one band, or with bands lying pixel by pixel the same
# numbers come back rightly. tifffile, which writes the files here, reads all of
# them rightly, and so does GDAL. Predictor 3 (floating point) fails likewise.
#
# It matters because INTERLEAVE=BAND with COMPRESS=DEFLATE and PREDICTOR=2 is a
# usual way to keep stacks of Sentinel-2 bands, and since GDAL 3.11 a COG may have
# it too. Two of three columns lose the level of their row's first pixel.
#
# Versions: async-geotiff 0.5.1, async-tiff 0.7.2, tifffile 2026.3.3, numpy 2.4.6.
#
# Output seen on 2026-11-30:
#   Three bands, pixel by pixel, predictor 2: read rightly is True.
#   Three bands, band by band, no predictor: read rightly is True.
#     first pixels of the first band: [1000, 1001, 1002, 1003, 1004, 1005], as read: [1000, 1, 1, 1001, 2, 2]
#   Three bands, band by band, predictor 2: read rightly is False.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    async-geotiff==0.5.1 async-tiff==0.7.2 tifffile==2026.3.3 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import asyncio
import os
import sys

import numpy
import tifffile
from async_geotiff import GeoTIFF
from async_tiff.store import LocalStore


def write(name, bands, nodata=None, **options):
    """Writes a tiled GeoTIFF in WGS 84 with pixels of one degree, from 10 E and 50 N."""
    tags = [
        (33550, "d", 3, (1.0, 1.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 10.0, 50.0, 0.0), True),
        (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326), True),
    ]
    if nodata is not None:
        tags.append((42113, "s", 0, nodata, True))
    tifffile.imwrite(name, bands, tile=(64, 64), photometric="minisblack", metadata=None, extratags=tags, **options)


async def read(name):
    geotiff = await GeoTIFF.open(name, store=LocalStore(os.getcwd()))
    return await geotiff.read()


def same(name, bands, **options):
    write(name, bands if options["planarconfig"] == "separate" else numpy.moveaxis(bands, 0, -1), **options)
    written = tifffile.imread(name)
    if options["planarconfig"] == "contig":
        written = numpy.moveaxis(written, -1, 0)
    if not (written == bands).all():
        sys.exit("The file itself is not as it was meant, so this says nothing.")
    seen = asyncio.run(read(name)).data
    if not (seen == bands).all():
        print(f"  first pixels of the first band: {bands[0, 0, :6].tolist()}, as read: {seen[0, 0, :6].tolist()}")
    return bool((seen == bands).all())


rows, columns = numpy.indices((128, 128))
ramp = numpy.stack([1000 + columns + 3 * rows, 2000 + columns, 3000 + rows]).astype("uint16")
pixelwise = same("contig.tif", ramp, planarconfig="contig", compression="zlib", predictor=2)
print(f"Three bands, pixel by pixel, predictor 2: read rightly is {pixelwise}.")
plain = same("plain.tif", ramp, planarconfig="separate", compression="zlib", predictor=None)
print(f"Three bands, band by band, no predictor: read rightly is {plain}.")
planar = same("planar.tif", ramp, planarconfig="separate", compression="zlib", predictor=2)
print(f"Three bands, band by band, predictor 2: read rightly is {planar}.")
if not (pixelwise and plain) or planar:
    sys.exit("This is no longer so: band-interleaved tiles with a predictor are read as the others are.")
PYTHON
