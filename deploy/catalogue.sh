#!/usr/bin/env bash
# Has other software read the catalogue of a batch, and prints what each says. Fails where one finds something else than was written.
#   COPGEN=target/release/copgen deploy/catalogue.sh [ROWS] [folder for the virtual environment]
set -euo pipefail
cd "$(dirname "$0")/.."
rows=${1:-200}
copgen=$(realpath "${COPGEN:-target/release/copgen}")
export COPGEN_HOME=${COPGEN_HOME:-$PWD}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${2:-$work/venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check "pystac[validation]==1.15.2" stac-geoparquet==0.8.3 pyarrow duckdb \
    geopandas odc-stac==0.5.2 rasterio==1.4.4
python3 deploy/make_plan.py "$rows" "$work/plan.csv"
# Two workers at once.
"$copgen" batch "$work/plan.csv" --out "$work/store" --device cpu >/dev/null &
"$copgen" batch "$work/plan.csv" --out "$work/store" --device cpu >/dev/null
wait $!
"$copgen" batch collect "$work/store"
"$venv/bin/python" deploy/catalogue.py "$work/store"
