"""Are intervals as wide as they must be? Phantoms before and after calibration, real scans by held-out views.

    python benchmarks/calibration.py pairs [--method tv fbp] [--sources bootstrap noise]
    python benchmarks/calibration.py real  [--method tv] [--scans tooth htc] [--out FOLDER]
    python benchmarks/calibration.py shift [--method fbp] [--sources bootstrap]
    python benchmarks/calibration.py table

pairs  random ellipses, dots and lines, 96 x 96, 40 views, Poisson noise of 2e4 photons; half of them
       calibrate, the other half is what the coverage is measured on; besides, the mean over 200 random
       halves. Method parameters as in `PARAMETERS`, or KEY=VALUE with --set; a method that tells its own
       uncertainty is measured with --sources method.
shift  calibrated on the same phantoms, used on phantoms of half and of twice the attenuation: part of them of
       which 90 % of the pixels are covered (nominal 90 %), with the factor of the calibration (split), with
       one that follows the measurement (LR-QR, which sees target measurements without truth), and with the
       factor that their own truths would give.
real   tooth: 31 of 181 views, row 0, detector binned by 2; htc: disc `ta`, 60 views, 256 x 256. Image, spread
       and interval from all of these views, and the coverage of every fifth of them, left out.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scenes import ROOT, Store, shared

import imagereg as ir
from imagereg.intervals import request_of, states_with_intervals
from imagereg.phantoms import simulate
from imagereg.preview import write_curves, write_panels
from imagereg.uncertainty.band import Band
from imagereg.uncertainty.conformal import FACTORS, RULES, image_scores, loss_curve, split_quantile
from imagereg.uncertainty.covariate_shift import features_of, lr_qr
from imagereg.uncertainty.coverage import figures
from imagereg.uncertainty.held_out import held_out_views

PARAMETERS: dict[str, dict[str, Any]] = {
    "tv": {"strength": 0.05, "iterations": 60},
    "fbp": {"window": "hann"},
}
REAL: dict[str, dict[str, Any]] = {
    "tv": {"strength": 0.6, "iterations": 60},
    "fbp": {"window": "hann"},
}
LEVEL, DELTA = 0.9, 0.1


def phantoms(count: int, attenuation: float = 0.3, seed: int = 0) -> ir.Measurement:
    """A stack of scans of phantoms, one a row, with their truth."""
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), 136, pixel=0.1)
    grid, noise = ir.Volume((96, 96), 0.1), ir.TransmissionNoise(2e4)
    scans = [
        simulate(
            "ellipses_and_lines", geometry, volume=grid, noise=noise, seed=number, attenuation=attenuation
        )
        for number in range(seed, seed + count)
    ]
    return ir.Measurement(
        np.stack([scan.data for scan in scans], 1),
        geometry=replace(geometry, rows=count),
        volume=grid,
        noise=noise,
        weights=np.stack([scan.weights for scan in scans], 1),
        truth=np.stack([scan.truth for scan in scans]),
    )


def raw_band(scan: ir.Measurement, method: str, source: str, arguments: argparse.Namespace) -> Band:
    """Images of a stack of scans with their intervals, not calibrated."""
    asked = {"source": source, "runs": arguments.runs, "level": LEVEL}
    values = {**PARAMETERS.get(method, {}), **arguments.set}
    last = deque(ir.iterate(scan, method, uncertainty=asked, **values), maxlen=1)[0]
    known = last.outcome.uncertainty
    return Band(last.image, known.lower, known.upper)


def image_factors(
    scan: ir.Measurement, method: str, source: str, arguments: argparse.Namespace
) -> np.ndarray:
    """The factor with which the interval of each image covers the level."""
    truth = torch.as_tensor(np.asarray(scan.truth), dtype=torch.float32)[:, None]
    scores = raw_band(scan, method, source, arguments).scores(truth)
    return image_scores(np.stack([loss_curve(image.numpy()) for image in scores]), 1 - LEVEL)


def pairs(arguments: argparse.Namespace) -> None:
    """Coverage of phantoms before and after calibration."""
    store = Store(arguments.output)
    scan = phantoms(arguments.count)
    truth = torch.as_tensor(np.asarray(scan.truth), dtype=torch.float32)[:, None]
    for method in arguments.method:
        for source in arguments.sources:
            began = time.perf_counter()
            band = raw_band(scan, method, source, arguments)
            scores, width = band.scores(truth), band.width.flatten(1).mean(1).double().numpy()
            losses = np.stack([loss_curve(image.numpy()) for image in scores])
            half = arguments.count // 2
            error = (band.centre - truth).square().mean().sqrt()
            row: dict[str, Any] = {
                "rmse": float(error),
                "raw": coverage(losses[half:], 1.0),
                "raw_width": float(width[half:].mean()),
                "error_std_correlation": figures(band, truth)["error_std_correlation"],
            }
            for rule in RULES.values():
                try:
                    factor = rule.factor(losses[:half], 1 - LEVEL, DELTA)
                except ir.ImageregError as refusal:
                    row[rule.name] = str(refusal)
                    continue
                scaled = band.scaled(factor)
                held = figures(Band(*(part[half:] for part in _parts(scaled))), truth[half:])
                row |= {
                    rule.name: held["coverage"],
                    f"{rule.name}_factor": factor,
                    f"{rule.name}_width": held["mean_width"],
                    f"{rule.name}_by_width": [round(v, 4) for v in held["coverage_by_width"]],
                }
            row |= over_halves(losses)
            key = {"what": "pairs", "method": method, "source": source, "runs": arguments.runs}
            key |= {"images": arguments.count}
            store.rows = [old for old in store.rows if any(old.get(k) != v for k, v in key.items())]
            store.add(key, {**row, "seconds": round(time.perf_counter() - began, 1)})
            picture = arguments.out / f"pairs_{method}_{source}.png"
            arguments.out.mkdir(parents=True, exist_ok=True)
            draw_pairs(band, truth, losses, half, picture)


def shift(arguments: argparse.Namespace) -> None:
    """Coverage on phantoms that calibration has not seen the like of."""
    store, count = Store(arguments.output), arguments.count
    for method in arguments.method:
        for source in arguments.sources:
            scan = phantoms(count)
            scores = image_factors(scan, method, source, arguments)
            for times in (0.5, 2.0):
                other = phantoms(count, attenuation=0.3 * times, seed=10_000)
                wanted = image_factors(other, method, source, arguments)
                near, far = (features_of(part.ready().data) for part in (scan, other))
                half = count // 2  # seen without truth; the other half is judged
                thresholds = {
                    "split": np.full(count - half, split_quantile(scores, DELTA)),
                    "lr_qr": lr_qr(near, scores, far[:half], alpha=DELTA)(far[half:]),
                    "own": np.full(count - half, split_quantile(wanted[:half], DELTA)),
                }
                key = {"what": "shift", "method": method, "source": source, "attenuation": times}
                key |= {"runs": arguments.runs, "images": count}
                store.rows = [old for old in store.rows if any(old.get(k) != v for k, v in key.items())]
                row: dict[str, Any] = {}
                for name, factor in thresholds.items():
                    row[name] = float((wanted[half:] <= factor + 1e-9).mean())
                    row[f"{name}_factor"] = float(factor.mean())
                store.add(key, row)


def _parts(band: Band) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return band.centre, band.lower, band.upper


def coverage(losses: np.ndarray, factor: float) -> float:
    """Mean coverage of images with a factor of the grid."""
    return 1 - float(losses[:, int(np.argmin(abs(FACTORS - factor)))].mean())


def over_halves(losses: np.ndarray, splits: int = 200) -> dict[str, Any]:
    """Mean and standard deviation of the coverage over random halves."""
    random, half, found = np.random.default_rng(0), len(losses) // 2, []
    for _ in range(splits):
        order = random.permutation(len(losses))
        factor = RULES["crc"].factor(losses[order[:half]], 1 - LEVEL, DELTA)
        found.append(coverage(losses[order[half:]], factor))
    return {"crc_over_200_halves": float(np.mean(found)), "crc_over_200_halves_std": float(np.std(found))}


def draw_pairs(band: Band, truth: torch.Tensor, losses: np.ndarray, half: int, path: Path) -> None:
    """One held-out phantom: truth, image, width after calibration, and where the interval misses."""
    scaled = band.scaled(RULES["crc"].factor(losses[:half], 1 - LEVEL, DELTA))
    missed = (scaled.scores(truth) > 1).float()
    panels = {"truth": truth, "image": band.centre, "width, calibrated": scaled.width, "missed": missed}
    write_panels({name: part[half, 0].numpy() for name, part in panels.items()}, path, shared_scale=False)


def tooth() -> ir.Measurement:
    """Every 6th view of row 0, flat field and centre as found, binned by 2."""
    raw = ir.read(shared() / "tooth" / "tooth.h5").select(rows=slice(0, 1))
    whole = ir.preprocess(raw, ["flatfield", "centre", {"bin": {"columns": 2}}])
    return whole.select(views=slice(0, None, 6)).ready()


def htc() -> ir.Measurement:
    """Every 12th view of one turn of disc `ta`, on a grid of 256 x 256."""
    whole = ir.read(shared() / "htc2022" / "ta_full_a_1.mat").select(views=slice(0, 720))
    whole = replace(whole, volume=ir.Volume((256, 256), 2 * 0.14832))
    return whole.select(views=slice(0, None, 12)).ready()


SCANS = {"tooth": tooth, "htc": htc}


def real(arguments: argparse.Namespace) -> None:
    """Images, spread and held-out coverage of real scans."""
    store = Store(arguments.output)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.scans:
        scan = SCANS[name]()
        for label in arguments.method:
            for source in arguments.sources:
                began = time.perf_counter()
                method = ir.method(label, **{**REAL.get(label, {}), **arguments.set})
                request = request_of({"source": source, "runs": arguments.runs, "level": LEVEL})

                def states(part: ir.Measurement, method: Any = method, request: Any = request) -> Any:
                    return states_with_intervals(method, part, request, 0)

                last = deque(held_out_views(states, scan, level=LEVEL), maxlen=1)[0]
                found = last.outcome.coverage
                key = {"what": "real", "scan": name, "method": label, "source": source}
                key |= {"runs": arguments.runs, "views": scan.geometry.views}
                store.rows = [old for old in store.rows if any(old.get(k) != v for k, v in key.items())]
                stem = f"{name}_{label}_{source}"
                levels = list(found.coverage)
                write_curves(
                    {
                        "spread and noise": (levels, list(found.coverage.values())),
                        "noise alone": (levels, list(found.without_spread.values())),
                        "as it should be": (levels, levels),
                    },
                    arguments.out / f"{stem}_coverage.png",
                    x="nominal level",
                    y="part of the left-out data covered",
                )
                full = deque(states(scan), maxlen=1)[0]
                known = full.outcome.uncertainty
                width = known.upper - known.lower
                store.add(
                    key,
                    {
                        **{("held_out_views" if k == "views" else k): v for k, v in found.as_dict().items()},
                        "mean_width_of_pixels": float(width.mean()),
                        "mean_std_of_pixels": float(known.std.mean()),
                        "range_of_image": float(full.image.quantile(0.995) - full.image.quantile(0.005)),
                        "seconds": round(time.perf_counter() - began, 1),
                    },
                )
                panels = {
                    f"{label}, {scan.geometry.views} views": full.image,
                    "standard deviation": known.std,
                    f"width of the {LEVEL:.0%} interval, not calibrated": width,
                }
                write_panels(
                    {title: part[0, 0].numpy() for title, part in panels.items()},
                    arguments.out / f"{stem}.png",
                    shared_scale=False,
                    label="1/mm",
                )


def table(arguments: argparse.Namespace) -> None:
    """What was measured."""
    for row in Store(arguments.output).rows:
        start = f"{row['what']} {row['method']:18s} {row['source']:9s}"
        if row["what"] == "pairs":
            said = "  ".join(
                f"{rule} {row[rule]:.1%} width {row[f'{rule}_width']:.4f}"
                for rule in RULES
                if isinstance(row[rule], float)
            )
            halves = row["crc_over_200_halves"]
            print(
                f"{start} raw {row['raw']:.1%} width {row['raw_width']:.4f}  {said}  200 halves {halves:.1%}"
            )
        elif row["what"] == "shift":
            said = "  ".join(
                f"{n} {row[n]:.1%} (factor {row[f'{n}_factor']:.2f})" for n in ("split", "lr_qr", "own")
            )
            print(f"{start} {row['attenuation']} times the attenuation: {said}")
        else:
            covered, alone = row["coverage"]["0.9"], row["without_spread"]["0.9"]
            print(
                f"{start} {row['scan']:6s} {row['views']} views: 90 % holds {covered:.1%} of left-out data, "
                f"noise alone {alone:.1%}, error over std {row['error_over_std']:.2f}"
            )


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("pairs", "shift", "real", "table"))
    parser.add_argument("--method", nargs="+", default=["fbp", "tv"], help="methods by name")
    parser.add_argument("--sources", nargs="+", default=["bootstrap", "noise"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="parameters of the method")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--count", type=int, default=80, help="phantoms, half of them for calibration")
    parser.add_argument("--scans", nargs="+", default=list(SCANS), choices=SCANS)
    parser.add_argument("--out", type=Path, default=Path("calibration"), help="folder of the pictures")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "calibration.json")
    arguments = parser.parse_args()
    arguments.set = {
        key: yaml.safe_load(value) for key, _, value in (w.partition("=") for w in arguments.set)
    }
    with torch.no_grad():
        {"pairs": pairs, "shift": shift, "real": real, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()
