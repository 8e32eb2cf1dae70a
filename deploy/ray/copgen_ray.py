"""Workers of a batch on a Ray cluster: copgen_ray.py PLAN STORE [--workers N] [-- options of copgen batch].

Each worker is one process of copgen that does rows which nobody else does. One that is killed, or whose node is lost, is started
again by Ray, and meanwhile its rows go to the others. The program and the store must be seen from all nodes."""

import argparse
import os
import subprocess
import sys
import time

import ray


class Killed(Exception):
    """The process of a worker was ended from outside."""


@ray.remote(num_cpus=1, max_retries=20, retry_exceptions=[Killed])
def work(number: int, command: list[str], log: str) -> int:
    with open(log, "a") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
    if code < 0:
        # Not at once: what killed it may still be there.
        time.sleep(1)
        raise Killed(f"worker {number} was ended by signal {-code}")
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan")
    parser.add_argument("store")
    parser.add_argument("--workers", type=int, default=0, help="all CPUs of the cluster if left out")
    parser.add_argument("--logs", default=".", help="folder for what workers say")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    arguments, options = parser.parse_args(given[:cut]), given[cut + 1 :]
    ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False)
    workers = arguments.workers or int(ray.cluster_resources().get("CPU", 1))
    store = arguments.store if "://" in arguments.store else os.path.abspath(arguments.store)
    command = [os.environ.get("COPGEN", "copgen"), "batch", os.path.abspath(arguments.plan), "--out", store]
    command += ["--keep-going", "--retry", "1", *options]
    logs = os.path.abspath(arguments.logs)
    codes = ray.get([work.remote(i, command, f"{logs}/worker-{i}.log") for i in range(workers)])
    print("exit codes of the workers:", codes)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
