#!/usr/bin/env bash
# Kills a single worker at random moments, and starts it again each time; at the end all jobs must be done, with the bytes of a run
# that nobody disturbed.
#   COPGEN=target/release/copgen deploy/kills.sh [KILLS] [ROWS]
set -euo pipefail
cd "$(dirname "$0")/.."
kills=${1:-20} rows=${2:-60}
copgen=$(realpath "${COPGEN:-target/release/copgen}")
export COPGEN_HOME=${COPGEN_HOME:-$PWD} SOURCE_DATE_EPOCH=1767225600
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 deploy/make_plan.py "$rows" "$work/plan.csv"
"$copgen" batch "$work/plan.csv" --out "$work/one" --device cpu >/dev/null
made() { find "$work/store/jobs" -mindepth 1 -maxdepth 1 ! -name '.*' 2>/dev/null | wc -l; }
for i in $(seq "$kills"); do
    "$copgen" batch "$work/plan.csv" --out "$work/store" --device cpu >/dev/null 2>&1 &
    worker=$!
    sleep "$(python3 -c 'import random; print(f"{random.uniform(0.02, 0.9):.3f}")')"
    if kill -KILL "$worker" 2>/dev/null; then echo "kill $i at $(made) jobs"; else echo "kill $i came too late"; fi
    wait "$worker" 2>/dev/null || true
done
"$copgen" batch "$work/plan.csv" --out "$work/store" --device cpu >/dev/null
left=$(find "$work/store" -name '.unfinished*' | wc -l)
echo "$left unfinished things are left"
python3 deploy/same.py "$work/one" "$work/store"
[ "$left" -eq 0 ]
