"""Writes a plan of many quick jobs on a bundled scene: make_plan.py ROWS PLAN.csv [SCENES]."""

import csv
import sys
from pathlib import Path


def main(rows: int, plan: Path, scenes: Path) -> None:
    scene = scenes.resolve() / "433D_629L_3_1"
    with plan.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["name", "scene", "extent", "given", "generate", "samples", "steps", "seed"])
        for i in range(rows):
            # Windows on the grid of 60 m, 21 x 21 of them, then other seeds.
            east, south = 60 * (i % 21), 60 * (i // 21 % 21)
            out.writerow([f"job{i:06}", scene, f"{east},{south}", "DEM,LULC,S1RTC", "S2L2A", 1, 2, i // 441])


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else here / "assets/scenes")
