"""The networks on filtered back-projections, on COULE test images that they never saw.

    python benchmarks/learned_fbp.py            goes on where it stopped, then prints the table

Parallel beam of 120 views at 2 % and 4 % noise, 60-view fan at 1 %; beside FBP and TV at its default. One
pass is the network on the FBP alone; the default is three. The authors' U-Net of graphLa+Psi
(arXiv:2312.16936) gave 34.71 dB on one picture at 2 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scenes import LEARNED, ROOT, Store, coule, fan, mean, parallel, scan, solve

CASES = {
    "parallel 120, 2 %": (lambda: parallel(120), 0.02),
    "parallel 120, 4 %": (lambda: parallel(120), 0.04),
    "fan 60, 1 %": (lambda: fan(60), 0.01),
}
METHODS: dict[str, dict] = {
    "fbp": {"method": "fbp"},
    "tv": {"method": "tv"},
    **{name: {"method": "learned_fbp", "iterations": passes} for name, passes in LEARNED.items()},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start nothing new after")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "learned_fbp.json")
    arguments = parser.parse_args()
    store = Store(arguments.output, arguments.seconds)
    for case, (make, level) in CASES.items():
        physics = make()
        for image in range(arguments.images):
            truth = coule(image)
            for name in arguments.methods:
                key = {"case": case, "image": image, "method": name}
                if store.late or store.find(**key):
                    continue
                measurement = scan(physics, truth, level, seed=1000 + image)
                store.add(key, solve(measurement, **METHODS[name])[1])
    for case in CASES:
        for name in METHODS:
            rows = store.find(case=case, method=name)
            if rows:
                print(
                    f"{case:<20}{name:<14}n={len(rows):2d}  {mean(rows, 'psnr'):6.2f} dB  "
                    f"SSIM {mean(rows, 'ssim'):.4f}  {mean(rows, 'seconds'):.1f} s"
                )


if __name__ == "__main__":
    main()
