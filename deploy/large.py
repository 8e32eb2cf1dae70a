"""How long a large plan takes to begin, to look at and to collect, and in how much memory: large.py COPGEN FOLDER [ROWS].

One job is computed; its files stand for those of all others, under the names and keys that these would have."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import make_plan


def run(what: str, command: list[str]) -> str:
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    print(f"{what}: {seconds:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of processors, {usage.ru_maxrss / 1024:.0f} MiB at most, exit code {os.waitstatus_to_exitcode(status)}", flush=True)
    return text


def compact(value) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def main(copgen: str, folder: Path, rows: int) -> None:
    root = Path(__file__).resolve().parent.parent
    os.environ.setdefault("COPGEN_HOME", str(root))
    folder.mkdir(parents=True)
    plan, store = folder / "plan.csv", folder / "store"
    make_plan.main(rows, plan, root / "assets/scenes")
    plan.write_text(plan.read_text().replace(",S2L2A,", ",S2L2A_60m,"))
    begin = [copgen, "batch", str(plan), "--out", str(store), "--device", "cpu", "--limit"]
    run(f"begin a store of {rows} rows", [*begin, "0"])
    run("one job", [*begin, "1"])
    run("status of an empty store", [copgen, "batch", "status", "--json", str(store)])

    pins = json.loads((store / "batch.json").read_text())["pins"]
    first = store / "jobs" / "job000000"
    record, item = json.loads((first / "job.json").read_text()), (first / "item.json").read_text()
    with plan.open(newline="") as file:
        rows_asked = list(csv.DictReader(file))

    def key(asked: dict, pins: dict) -> str:
        row = hashlib.sha256(compact(dict(sorted(asked.items())))).hexdigest()
        return hashlib.sha256(compact([1, row, pins])).hexdigest()

    tried = [pins, dict(sorted(pins.items()))]
    pins = next(p for p in tried if key(rows_asked[0], p) == record["key"])
    rasters = [name for name in record["files"] if name.endswith(".tif")]
    source = first
    for i, asked in enumerate(rows_asked[1:], 1):
        name = f"job{i:06}"
        job = store / "jobs" / name
        job.mkdir()
        for raster in rasters:
            # A file has room for some ten thousand links.
            (shutil.copy if i % 20_000 == 0 else os.link)(source / raster, job / raster)
        source = job if i % 20_000 == 0 else source
        text = item.replace("job000000", name)
        (job / "item.json").write_text(text)
        record["files"]["item.json"]["bytes"] = len(text.encode())
        own = {**record, "job": name, "row": i + 1, "key": key(asked, pins)}
        (job / "job.json").write_text(json.dumps(own))
    told = json.loads(run("status of a full store", [copgen, "batch", "status", "--json", str(store)]))
    assert told["done"] == rows, told
    run("start on a full store (all are passed over)", [*begin, "1"])
    run("collect", [copgen, "batch", "collect", str(store)])
    size = {name: (store / name).stat().st_size / 1e6 for name in ["items.parquet", "collection.json"]}
    print({name: f"{megabytes:.1f} MB" for name, megabytes in size.items()})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100_000)
