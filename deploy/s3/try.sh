#!/usr/bin/env bash
# Writes a batch to a bucket that speaks S3: a server from PyPI (localbucket, which keeps buckets as folders) on loopback. The server is
# killed and started again in the middle; a worker is killed, and its job taken over. At the end all jobs must be there, with the
# bytes of a single process on a folder, and a catalogue must be made in the bucket.
#   COPGEN=target/release/copgen deploy/s3/try.sh [ROWS] [folder for the virtual environment]
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD rows=${1:-30}
copgen=$(realpath "${COPGEN:-target/release/copgen}")
work=$(mktemp -d)
venv=${2:-$work/venv}
started=()
finish() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check localbucket==1.2.1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$work/data/results"
serve() {
    "$venv/bin/localbucket" --port "$port" "$work/data" >>"$work/server.log" 2>&1 &
    server=$!
    started+=("$server")
    for _ in $(seq 50); do curl -s -o /dev/null "http://127.0.0.1:$port/" && return; sleep 0.1; done
    cat "$work/server.log"
    exit 1
}
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=us-east-1
export COPGEN_HOME=${COPGEN_HOME:-$root} SOURCE_DATE_EPOCH=1767225600
python3 deploy/make_plan.py "$rows" "$work/plan.csv"
serve
store=s3://results/run1 seen=$work/data/results/run1
made() { find "$seen/jobs" -name job.json 2>/dev/null | wc -l; }
for i in 0 1; do
    "$copgen" batch "$work/plan.csv" --out "$store" --device cpu --keep-going >"$work/worker-$i.jsonl" 2>"$work/worker-$i.log" &
    workers[i]=$!
    started+=("$!")
done
until [ "$(made)" -ge $((rows / 4)) ]; do sleep 0.1; done
kill -KILL "$server"
say "killed the server at $(made) jobs"
sleep 3
serve
say "started it again"
until [ "$(made)" -ge $((rows / 2)) ]; do sleep 0.1; done
kill -KILL "${workers[0]}"
say "killed a worker at $(made) jobs; its claim is taken over after a minute without a sign"
wait "${workers[1]}" || say "exit code $?"
cat "$work/worker-1.log"
"$copgen" batch status "$store"
"$copgen" batch collect "$store"
say "one process on a folder for comparison"
"$copgen" batch "$work/plan.csv" --out "$work/one" --device cpu >/dev/null
python3 deploy/same.py "$work/one" "$seen"
