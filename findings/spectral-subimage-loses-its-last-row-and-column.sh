#!/usr/bin/env bash
#
# One would expect a SubImage of Spectral Python over rows [1, 4) and columns
# [1, 5) to give three rows and four columns, which is what its shape says and what
# its documentation promises ("2-tuples [i, j)"; read_band returns "an MxN array
# ... M and N are the number of rows and columns"). read_band and read_bands give
# two rows and three columns: the last row and the last column are missing.
#
# They pass [first, last] to read_subregion, whose upper bound is exclusive. No
# error is raised; statistics of a field or a crop miss its edge, and arrays laid
# side by side are shifted by a pixel for each piece. The same crop taken by
# subscript from the image itself is whole.
#
# Versions: spectral 0.24, numpy 2.4.6 (spectral 0.25 was not tried).
#
# Output seen on 2026-11-30:
#   bsq: the crop says (3, 4, 3), the image's own slice has (3, 4, 3), read_band (2, 3), read_bands (2, 3).
#   bil: the crop says (3, 4, 3), the image's own slice has (3, 4, 3), read_band (2, 3), read_bands (2, 3).
#   bip: the crop says (3, 4, 3), the image's own slice has (3, 4, 3), read_band (2, 3), read_bands (2, 3).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    spectral==0.24 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import sys

import numpy
from spectral.io import envi
from spectral.io.spyfile import SubImage

cube = numpy.arange(5 * 6 * 3, dtype="int16").reshape(5, 6, 3)
seen = set()
for interleave in ("bsq", "bil", "bip"):
    envi.save_image(f"{interleave}.hdr", cube, interleave=interleave)
    image = envi.open(f"{interleave}.hdr")
    direct = image[1:4, 1:5, :]
    crop = SubImage(image, (1, 4), (1, 5))
    band, bands = crop.read_band(0), crop.read_bands([0, 1])
    print(f"{interleave}: the crop says {crop.shape}, the image's own slice has {direct.shape}, read_band {band.shape[:2]}, read_bands {bands.shape[:2]}.")
    if not (direct == cube[1:4, 1:5]).all() or crop.shape != (3, 4, 3):
        sys.exit("The crop is not what it was meant to be, so this says nothing.")
    seen |= {band.shape[:2], bands.shape[:2]}
if seen != {(2, 3)}:
    sys.exit("This is no longer so: a SubImage reads all its rows and columns.")
PYTHON
