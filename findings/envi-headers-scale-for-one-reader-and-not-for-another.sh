#!/usr/bin/env bash
#
# One would expect that two readers of an ENVI header agree on what its numbers
# mean, or that neither scales. Spectral Python divides by "reflectance scale
# factor" and ignores "data gain values" and "data offset values"; GDAL (through
# rasterio) has it exactly the other way round: it gives scale and offset from gain
# and offset, and from a reflectance scale factor it gives scale 1 and offset 0.
#
# Both fields are in ENVI's own list of header fields. So reflectance of one and
# the same pixel is 0.14 by one library and 1400 by the other, and which of the two
# is right changes with the field that the producer chose. Within Spectral Python
# open_memmap is a third way: it never scales, though load, slices and read_band of
# the same image object do.
#
# Versions: spectral 0.24, rasterio 1.4.4 (GDAL 3.10.3), numpy 2.4.6.
#
# Output seen on 2026-11-30:
#   Header with reflectance scale factor: Spectral Python's load 0.14, read_band 0.14, open_memmap 1400.0; rasterio with its scale and offset 1400.0.
#   Header with data gain values and data offset values: Spectral Python's load 1400.0, read_band 1400.0, open_memmap 1400.0; rasterio with its scale and offset 0.14.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    spectral==0.24 rasterio==1.4.4 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import sys
import warnings

import numpy
import rasterio
from spectral.io import envi

warnings.simplefilter("ignore")  # The files need no position here.
stored = numpy.full((5, 6, 2), 1400, "int16")
seen = {}
for name, fields in (
    ("factor", {"reflectance scale factor": 10000}),
    ("gain", {"data gain values": [0.0001, 0.0001], "data offset values": [0, 0]}),
):
    envi.save_image(f"{name}.hdr", stored, interleave="bsq", metadata=fields)
    image = envi.open(f"{name}.hdr")
    loaded, band, mapped = float(image.load()[1, 1, 0]), float(image.read_band(0)[1, 1]), float(image.open_memmap()[1, 1, 0])
    with rasterio.open(f"{name}.img") as dataset:
        by_gdal = float(dataset.read(1)[1, 1]) * dataset.scales[0] + dataset.offsets[0]
    seen[name] = [round(value, 4) for value in (loaded, band, mapped, by_gdal)]
    print(f"Header with {' and '.join(fields)}: Spectral Python's load {seen[name][0]}, read_band {seen[name][1]}, open_memmap {seen[name][2]}; rasterio with its scale and offset {seen[name][3]}.")
if seen != {"factor": [0.14, 0.14, 1400.0, 1400.0], "gain": [1400.0, 1400.0, 1400.0, 0.14]}:
    sys.exit("This is no longer so: the readers agree more than they did.")
PYTHON
