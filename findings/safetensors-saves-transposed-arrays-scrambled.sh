#!/usr/bin/env bash
#
# One would expect that an array saved with safetensors.numpy comes back equal, or
# is refused as the torch half of the package refuses it. Version 0.8.0 saves an
# array that is not in C order (bands moved to the front, or a Fortran-ordered
# array) with the right shape and its memory in the wrong order:
# what comes back has the same shape, type and values, at other places. 0.7.0
# saved them rightly, by the report named below.
#
# The documentation asks for tensors that are "contiguous and dense"; a Fortran-
# ordered array is both, and nothing checks it. Cause: 0.8.0 hands the pointer of
# the array's memory to Rust instead of its bytes. Known upstream (safetensors
# issue 825, open since August 2026).
#
# It matters here because the usual step from (row, column, band) to (band, row,
# column) before saving an image or the weights of a convolution gives just such a
# view, and histograms and statistics of the result are still right.
#
# Versions: safetensors 0.8.0, numpy 2.4.6.
#
# Output seen on 2026-11-30:
#   copied into C order: shape (4, 2, 3) comes back as (4, 2, 3), equal is True; first values [0.0, 4.0, 8.0, 12.0], then [0.0, 4.0, 8.0, 12.0].
#   bands moved to the front: shape (4, 2, 3) comes back as (4, 2, 3), equal is False; first values [0.0, 4.0, 8.0, 12.0], then [0.0, 1.0, 2.0, 3.0].
#   Fortran order: shape (2, 3, 4) comes back as (2, 3, 4), equal is False; first values [0.0, 1.0, 2.0, 3.0], then [0.0, 12.0, 4.0, 16.0].
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
    safetensors==0.8.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import sys

import numpy
from safetensors.numpy import load_file, save_file

rows_columns_bands = numpy.arange(24, dtype="float32").reshape(2, 3, 4)
view = numpy.moveaxis(rows_columns_bands, -1, 0)
seen = {}
for name, array in (
    ("copied into C order", numpy.ascontiguousarray(view)),
    ("bands moved to the front", view),
    ("Fortran order", numpy.asfortranarray(rows_columns_bands)),
):
    save_file({"image": array}, "image.safetensors")
    back = load_file("image.safetensors")["image"]
    seen[name] = bool(back.shape == array.shape and (back == array).all())
    print(f"{name}: shape {array.shape} comes back as {back.shape}, equal is {seen[name]}; first values {array.ravel()[:4].tolist()}, then {back.ravel()[:4].tolist()}.")
if list(seen.values()) != [True, False, False]:
    sys.exit("This is no longer so: arrays that are not in C order are saved rightly or refused.")
PYTHON
