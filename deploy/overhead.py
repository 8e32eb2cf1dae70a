"""What a batch costs beside plain generate, and what a second worker brings: overhead.py COPGEN [ROWS].

Times of processors and of the clock of ROWS jobs: each by a call of generate, all by one worker, all by two with one thread each."""

import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import make_plan


def measured(what: str, rows: int, run) -> float:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run()
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{what}: {cpu / rows:.3f} s of processors and {seconds / rows:.3f} s of the clock per job", flush=True)
    return cpu / rows


def main(copgen: str, rows: int) -> None:
    root = Path(__file__).resolve().parent.parent
    os.environ.setdefault("COPGEN_HOME", str(root))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_plan.main(rows, work / "plan.csv", root / "assets/scenes")
        with (work / "plan.csv").open(newline="") as file:
            asked = list(csv.DictReader(file))

        def alone() -> None:
            for row in asked:
                options = [part for column, value in row.items() if column != "name" for part in (f"--{column}", value)]
                subprocess.run([copgen, "generate", *options, "--stac", "--device", "cpu", "--out", work / "alone" / row["name"]], **quiet)

        def workers(count: int, store: str) -> None:
            command = [copgen, "batch", work / "plan.csv", "--out", work / store, "--device", "cpu"]
            threads = {"RAYON_NUM_THREADS": "1"} if count > 1 or store.endswith("thread") else {}
            started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **threads}) for _ in range(count)]
            assert not any(worker.wait() for worker in started)

        plain = measured("generate, called for each", rows, alone)
        batch = measured("one worker", rows, lambda: workers(1, "one"))
        measured("one worker with one thread", rows, lambda: workers(1, "one-thread"))
        measured("two workers with one thread each", rows, lambda: workers(2, "two"))
        print(f"a job of a batch costs {100 * batch / plain:.0f} % of a call of generate")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40)
