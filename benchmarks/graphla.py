"""graphLa+Psi on COULE: parallel beam, 120 views, 362 columns, noise of 2 % and 4 %, nothing tuned per image.

    python benchmarks/graphla.py run --images 0:15 --levels 0.02 0.04 --seconds 80    goes on where it stopped
    python benchmarks/graphla.py study --images 0:8 --levels 0.02                     other settings
    python benchmarks/graphla.py table                                                prints what there is

Psi: FBP, Tikhonov and TV at one strength for all images (that of the discrepancy principle on image 0 at
the same level), `learned_fbp` in one pass (a network on the FBP, as the authors') and in three, the truth.
Each is refined by the quadratic and the l1 form, alpha by the discrepancy principle at every step. `study`
varies one setting at a time for the network and the truth: what the rows of the table hang on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import LEARNED, ROOT, Store, coule, figures, mean, parallel, scan, solve

import imagereg as ir

PSI = ("fbp", "tikhonov", "tv", *LEARNED, "truth")
FORMS = ("quadratic", "l1")
# PSNR of the authors' pictures (one image, partly of the training set): Psi and graphLa+Psi.
AUTHORS = {
    ("fbp", 0.02): (21.95, 30.24),
    ("tikhonov", 0.02): (26.22, 30.80),
    ("tv", 0.02): (28.80, 34.92),
    ("one_pass", 0.02): (34.71, 39.01),
    ("truth", 0.02): (np.inf, 47.44),
    ("fbp", 0.04): (17.90, 25.56),
    ("tikhonov", 0.04): (24.41, 27.04),
    ("tv", 0.04): (26.20, 29.85),
    ("one_pass", 0.04): (32.38, 34.02),
    ("truth", 0.04): (np.inf, 43.05),
}
# A plain implementation, means over 15 test images at 2 %: Psi, quadratic, l1.
PLAIN = {
    "fbp": (24.7, 35.5, 35.3),
    "tikhonov": (26.1, 35.5, 36.4),
    "tv": (33.9, 39.3, 39.6),
    "truth": (np.inf, 55.7, 53.9),
}

STUDY: dict[str, dict[str, Any]] = {
    "default": {},
    "safety 1": {"safety": 1.0},
    "safety 0.99": {"safety": 0.99},
    "gcv": {"rule": "gcv"},
    "scale 5e-4": {"scale": 5e-4},
    "scale 2e-3": {"scale": 2e-3},
    "radius 3": {"radius": 3},
}


def common_strength(store: Store, name: str, level: float, physics: Any) -> float:
    """The strength by the discrepancy principle on image 0, found once for a level."""
    known = store.find(kind="strength", psi=name, level=level)
    if not known:
        from imagereg.choose.base import choose

        measurement = scan(physics, coule(0), level, seed=1000)
        choice = choose(_method(name), measurement.ready(), "discrepancy")
        known = [store.add({"kind": "strength", "psi": name, "level": level}, {"strength": choice.value})]
    return float(known[0]["strength"])


def _method(name: str, **parameters: Any) -> ir.Method:
    if name == "tv":
        parameters = {"iterations": 400, "tolerance": 1e-3, **parameters}
    return ir.method(name, **parameters)


def pre_estimate(store: Store, name: str, level: float, measurement: ir.Measurement) -> Any:
    """Psi of one scan, and its figures."""
    if name == "truth":
        return measurement.truth, {
            **figures(measurement.truth, measurement),
            "psnr": float("inf"),
            "seconds": 0.0,
        }
    if name in LEARNED:
        return solve(measurement, "learned_fbp", iterations=LEARNED[name])
    if name == "fbp":
        return solve(measurement, name)
    strength = common_strength(store, name, level, measurement.physics)
    return solve(measurement, _method(name, strength=strength))


def run(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output, arguments.seconds)
    physics = parallel()
    first, last = map(int, arguments.images.split(":"))
    for level in arguments.levels:
        for number in range(first, last):
            measurement = scan(physics, coule(number), level, seed=number)
            for name in arguments.psi:
                key = {"kind": "image", "level": level, "image": number, "psi": name}
                missing = [form for form in arguments.forms if not store.find(form=form, **key)]
                if not missing:
                    continue
                if store.late:
                    return
                image, values = pre_estimate(store, name, level, measurement)
                if not store.find(form="psi", **key):
                    store.add({**key, "form": "psi"}, values)
                for form in missing:
                    if store.late:
                        return
                    _, values = solve(measurement, "graph_laplacian", psi=image, form=form)
                    store.add({**key, "form": form}, values)


def study(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output, arguments.seconds)
    physics = parallel()
    for level in arguments.levels:
        for number in range(*map(int, arguments.images.split(":"))):
            measurement = scan(physics, coule(number), level, seed=number)
            for name in ("one_pass", "truth"):
                image = None
                for words, settings in STUDY.items():
                    key = {"kind": "study", "level": level, "image": number, "psi": name, "setting": words}
                    if store.find(**key):
                        continue
                    if store.late:
                        return
                    image = pre_estimate(store, name, level, measurement)[0] if image is None else image
                    store.add(key, solve(measurement, "graph_laplacian", psi=image, **settings)[1])


def table(arguments: argparse.Namespace) -> None:
    store = Store(arguments.output)
    print("PSNR / SSIM / RMSE, means over n images; authors: one image; plain: means over 15 images")
    for level in sorted({row["level"] for row in store.rows}):
        for name in PSI:
            for place, form in enumerate(("psi", *FORMS)):
                rows = store.find(kind="image", level=level, psi=name, form=form)
                if not rows:
                    continue
                authors = AUTHORS[name, level][min(place, 1)] if (name, level) in AUTHORS else float("nan")
                plain = PLAIN[name][place] if level == 0.02 and name in PLAIN else float("nan")
                print(
                    f"{level:.0%} {name:12s} {form:10s} n={len(rows):2d}  {mean(rows, 'psnr'):6.2f} / "
                    f"{mean(rows, 'ssim'):.4f} / {mean(rows, 'rmse'):.4f}  authors {authors:6.2f}  plain "
                    f"{plain:5.1f}  residual/noise {mean(rows, 'residual_over_noise'):.3f}  "
                    f"{mean(rows, 'seconds'):.1f} s"
                )
    for level in sorted({row["level"] for row in store.find(kind="study")}):
        for name in ("one_pass", "truth"):
            for words in STUDY:
                rows = store.find(kind="study", level=level, psi=name, setting=words)
                print(f"{level:.0%} {name:12s} {words:12s} n={len(rows):2d}  {mean(rows, 'psnr'):6.2f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "study", "table"))
    parser.add_argument("--images", default="0:15", help="first:last")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.02, 0.04])
    parser.add_argument("--psi", nargs="+", default=list(PSI), choices=PSI)
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="start nothing new after this time"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "graphla.json")
    arguments = parser.parse_args()
    with torch.no_grad():
        {"run": run, "study": study, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
