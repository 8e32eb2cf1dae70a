#!/usr/bin/env bash
# Runs copgen_ray.py with three workers on this machine; one is killed in the middle (its process and Ray's around it). At the end
# all jobs must be done, with the bytes of a single process.
#   COPGEN=target/release/copgen deploy/ray/try.sh [ROWS] [folder for the virtual environment]
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD rows=${1:-200}
copgen=${COPGEN:-target/release/copgen}
# The moment that files are said to be made at: the same for both stores.
export SOURCE_DATE_EPOCH=1767225600
# Nothing of Ray stays in the home folder.
export RAY_AUTH_MODE=disabled
export COPGEN COPGEN_HOME=${COPGEN_HOME:-$root} RAY_USAGE_STATS_ENABLED=0
COPGEN=$(realpath "$copgen")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${2:-$work/venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
python3 deploy/make_plan.py "$rows" "$work/plan.csv"
cat >"$work/run.py" <<'RUN'
import runpy, sys, ray
given = ray.init
ray.init = lambda **more: given(num_cpus=3, include_dashboard=False, **{k: v for k, v in more.items() if v is not None})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
RUN
"$venv/bin/python" "$work/run.py" deploy/ray/copgen_ray.py "$work/plan.csv" "$work/store" --workers 3 --logs "$work" -- --device cpu &
driver=$!
made() { find "$work/store/jobs" -mindepth 1 -maxdepth 1 ! -name '.*' 2>/dev/null | wc -l; }
until [ "$(made)" -ge $((rows / 3)) ]; do sleep 0.3; kill -0 "$driver" 2>/dev/null || break; done
victim=$(pgrep -f "$COPGEN batch $work/plan.csv" | head -n 1)
parent=$(ps -o ppid= -p "$victim" | tr -d ' ')
kill -KILL "$victim" "$parent"
say "killed a worker (process $victim, and Ray's $parent) at $(made) jobs"
wait "$driver"
"$COPGEN" batch status "$work/store"
grep -h -E '^(All|Some|Stopped|Declined)' "$work"/worker-*.log || true
say "one process for comparison"
"$COPGEN" batch "$work/plan.csv" --out "$work/one" --device cpu >/dev/null
python3 deploy/same.py "$work/one" "$work/store"
