"""Whether two stores of one plan hold the same, byte by byte: same.py STORE STORE.

Each record must name just what lies beside it. Both stores must have been begun with one SOURCE_DATE_EPOCH, since items say when
they were made. Also counts how many jobs were computed: none may be done twice."""

import hashlib
import json
import sys
from pathlib import Path


def jobs(store: Path) -> dict[str, dict[str, str]]:
    found = {}
    for record in sorted(store.glob("jobs/*/job.json")):
        told = json.loads(record.read_text())["files"]
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(record.parent.iterdir())}
        beside = {name: file["sha256"] for name, file in told.items()}
        assert {**beside, record.name: hashes[record.name]} == hashes, record
        found[record.parent.name] = hashes
    return found


def main(one: Path, other: Path) -> int:
    a, b = jobs(one), jobs(other)
    rows = json.loads((one / "batch.json").read_text())["plan"]["rows"]
    different = [name for name in a if a[name] != b.get(name)]
    lines = [line for log in (other / "log").glob("*.jsonl") for line in log.read_text().splitlines()]
    computed = sum('"status":"done"' in line for line in lines)
    print(f"{len(a)} and {len(b)} of {rows} jobs are there, {len(different)} differ; {computed} are told as done in {other.name}")
    # A job that was finished just before its worker was killed is told by nobody.
    return 0 if len(a) == len(b) == rows and not different and computed <= rows else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
