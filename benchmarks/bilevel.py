"""Bilevel learning: is the certificate true, does MAID land where a search does, dB against work beside HOAG.

    python benchmarks/bilevel.py quadratic      exact hypergradients against the certificate, random draws
    python benchmarks/bilevel.py rof            one parameter: MAID and HOAG against a grid search
    python benchmarks/bilevel.py tv             two log-parameters on natural images
    python benchmarks/bilevel.py foe --solver maid      (or hoag) Field of Experts on natural images
    python benchmarks/bilevel.py table          print what is there, write bilevel.json and foe.png
    python benchmarks/bilevel.py export --solver maid   write the learned filters as the shipped preset

Training images come from scikit-image, test images are Set12 of the shared folder (IMAGEREG_SHARED).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bilevel_quadratic import quadratic
from scenes import MACHINE

from imagereg.choose.bilevel import MeanSquaredError
from imagereg.choose.field_of_experts import FieldOfExperts
from imagereg.choose.hoag import HOAG
from imagereg.choose.hypergradient import solve_lower
from imagereg.choose.learn import psnr
from imagereg.choose.maid import MAID
from imagereg.choose.smoothed_tv import SmoothedTV

ROOT = Path(__file__).resolve().parents[1]
SIGMA = 0.1
EXPERTS, EDGE = 8, 3  # filters of the Field of Experts and their edge in pixels
FIRST = 0.1  # first step of both: their own moves every logarithm by about 1, which costs thousands of solves
PICTURES = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "coins",
    "moon",
    "brick",
    "grass",
    "gravel",
    "immunohistochemistry",
)


def training(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean and noisy (10, 1, size, size): the middle of scikit-image's pictures at half resolution."""
    import skimage.color
    import skimage.data

    random = np.random.default_rng(1)
    clean = []
    for name in PICTURES:
        picture = np.asarray(getattr(skimage.data, name)())
        grey = skimage.color.rgb2gray(picture) if picture.ndim == 3 else picture / 255.0
        rows, columns = (n // 2 * 2 for n in grey.shape)
        half = grey[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
        top, left = (half.shape[0] - size) // 2, (half.shape[1] - size) // 2
        clean.append(half[top : top + size, left : left + size])
    stack = np.stack(clean)[:, None]
    noisy = stack + SIGMA * random.standard_normal(stack.shape)
    return torch.from_numpy(stack), torch.from_numpy(noisy)


def testing(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean and noisy (12, 1, size, size): the middle of the Set12 images."""
    import skimage.io

    folder = Path(os.environ.get("IMAGEREG_SHARED", ROOT.parent / "shared")) / "data" / "set12"
    files = sorted(folder.glob("*.png"))
    if not files:
        raise SystemExit(f"no Set12 images at {folder}: set IMAGEREG_SHARED")
    random = np.random.default_rng(2)
    clean = []
    for file in files:
        picture = np.asarray(skimage.io.imread(file), dtype=np.float64) / 255.0
        top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
        clean.append(picture[top : top + size, left : left + size])
    stack = np.stack(clean)[:, None]
    return torch.from_numpy(stack), torch.from_numpy(stack + SIGMA * random.standard_normal(stack.shape))


def mean_psnr(images: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean of the PSNR of each image."""
    return float(np.mean([psnr(x, t) for x, t in zip(images, truth, strict=True)]))


# ------------------------------------------------------------------ one-parameter ROF
def rof(file: Path) -> dict[str, Any]:
    """The learned log strength of smoothed TV against a grid search of the training error.

    What is in the file already is not done again.
    """
    clean, noisy = training(32)
    lower, upper = SmoothedTV(noisy, smoothing=1e-2), MeanSquaredError(clean)
    grid = np.linspace(-6, 0, 121)
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if not kept:
        values, image = [], noisy
        for t in grid:
            image = solve_lower(lower, torch.tensor([t]), image, accuracy=1e-3).image
            values.append(upper.value(image))
        best = int(np.argmin(values))
        kept = {"grid_best": float(grid[best]), "grid_step": 0.05, "grid_value": values[best], "runs": []}
    for start in (-6.0, 0.0):
        for eps in (1e-1, 1e-3, 1e-5):
            solvers: dict[str, Any] = {
                "MAID": MAID(accuracy=eps, residual=eps),
                "HOAG": HOAG(accuracy=eps),
            }
            for name, solver in solvers.items():
                key = {"solver": name, "start": start, "eps0": eps}
                if any(key.items() <= run.items() for run in kept["runs"]):
                    continue
                began = time.perf_counter()
                first = torch.tensor([start], dtype=torch.float64)
                *_, last = solver.iterate(lower, upper, first, total=40, budget=20_000, tolerance=1e-3)
                kept["runs"].append(
                    {
                        **key,
                        "log_strength": float(last.memory["theta"][0]),
                        "excess": last.values["objective"] / kept["grid_value"] - 1,
                        "steps": last.iteration,
                        "work": last.values["work"],
                        "finished": last.finished,
                        "seconds": time.perf_counter() - began,
                    }
                )
                write(file, kept)
    return kept


# ------------------------------------------------------------------ two-parameter TV
def tv(file: Path) -> dict[str, Any]:
    """Training loss and test PSNR against work, theta = (log strength, log smoothing) from (-5, -5).

    What is in the file already is not done again.
    """
    clean, noisy = training(96)
    upper, lower = MeanSquaredError(clean), SmoothedTV(noisy, isotropic=False)
    true, spoilt = testing(128)
    test = SmoothedTV(spoilt, isotropic=False)
    solvers: dict[str, Any] = {
        f"MAID {eps:g}": MAID(accuracy=eps, residual=eps) for eps in (1e-1, 1e-3, 1e-5)
    }
    solvers |= {f"HOAG {kind}": HOAG(schedule=kind) for kind in ("quadratic", "cubic", "exponential")}
    noise = {"training_psnr": psnr(noisy, clean), "test_psnr": mean_psnr(spoilt, true)}
    kept: dict[str, Any] = {"noisy": noise, "runs": [], "curves": {}}
    if file.exists():
        kept = json.loads(file.read_text())
    for name, solver in solvers.items():
        if name in kept["curves"]:
            continue
        began, curve, last = time.perf_counter(), [], None
        first = torch.tensor([-5.0, -5.0], dtype=torch.float64)
        for last in solver.iterate(lower, upper, first, total=60, budget=2_000):
            curve.append([last.values["work"], last.values["objective"]])
        assert last is not None
        seconds = time.perf_counter() - began
        theta = last.memory["theta"]
        result = solve_lower(test, theta, spoilt, accuracy=1e-2).image
        kept["curves"][name] = curve
        kept["runs"].append(
            {
                "solver": name,
                "theta": [round(float(t), 4) for t in theta],
                "training_loss": last.values["objective"],
                "training_psnr": psnr(last.image, clean),
                "test_psnr": mean_psnr(result, true),
                "steps": last.iteration,
                "work": last.values["work"],
                "certified": last.values.get("certified"),
                "finished": last.finished,
                "seconds": seconds,
            }
        )
        write(file, kept)
    return kept


# ------------------------------------------------------------------ Field of Experts
def foe(name: str, folder: Path, budget: float) -> dict[str, Any]:
    """Filters, from cosines, learned on 10 crops of 64 x 64; loss and test PSNR against work."""
    clean, noisy = training(64)
    true, spoilt = testing(128)
    upper, lower = MeanSquaredError(clean), FieldOfExperts(noisy, filters=EXPERTS, size=EDGE)
    test = FieldOfExperts(spoilt, filters=EXPERTS, size=EDGE)
    solver: Any = {
        "maid": MAID(step=FIRST),
        "hoag": HOAG(step=FIRST),
        "hoag_exponential": HOAG(step=FIRST, schedule="exponential"),
    }[name]
    began, curve, last, looked = time.process_time(), [], None, 0.0
    for last in solver.iterate(lower, upper, lower.first(), total=10_000, budget=budget):
        row = {"work": last.values["work"], "loss": last.values["objective"], "step": last.values["step"]}
        if last.finished or last.values["work"] >= looked:
            looked = last.values["work"] + budget / 6
            image = solve_lower(test, last.memory["theta"], spoilt, accuracy=0.1).image
            row["test_psnr"] = mean_psnr(image, true)
            row["training_psnr"] = psnr(last.image, clean)
            torch.save(last.memory["theta"], folder / f"foe_{name}.pt")
        curve.append(row)
        write(folder / f"foe_{name}.json", {"curve": curve, "noisy": mean_psnr(spoilt, true), "done": False})
    assert last is not None
    return {
        "curve": curve,
        "noisy": mean_psnr(spoilt, true),
        "steps": last.iteration,
        "finished": last.finished,
        "cpu_seconds": time.process_time() - began,
        "done": True,
    }


def export(name: str, folder: Path) -> None:
    """The filters of a run as the preset that the package ships."""
    from imagereg.choose.learn import field_of_experts
    from imagereg.services.learning import write_preset
    from imagereg.solvers.outcome import Learned, Outcome
    from imagereg.solvers.state import State

    clean, noisy = training(64)
    result = json.loads((folder / f"foe_{name}.json").read_text())
    last = result["curve"][-1]
    theta = torch.load(folder / f"foe_{name}.pt")
    values = {"psnr": last["training_psnr"], "psnr_noisy": psnr(noisy, clean), "work": last["work"]}
    parameters = field_of_experts(noisy, filters=EXPERTS, size=EDGE).translate(theta)
    outcome = Outcome(learned=Learned("field_of_experts", parameters, name))
    state = State(noisy, result["steps"], values=values, outcome=outcome, finished=result["finished"])
    target = ROOT / "data" / "presets"
    target.mkdir(parents=True, exist_ok=True)
    path = target / "field_of_experts.yaml"
    write_preset(state, path, source=Path("pictures of scikit-image"), names=list(PICTURES))
    print(path)


# ------------------------------------------------------------------ tables
def table(folder: Path) -> None:
    """Print every table of which there are results, and write them as one JSON."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    found.pop("bilevel", None)
    if "quadratic" in found:
        print("Quadratic, exact hypergradient against the certificate")
        for key, value in found["quadratic"].items():
            print(f"  {key:<28}{value}")
    if "rof" in found:
        data = found["rof"]
        print(f"\nROF, one parameter: grid search {data['grid_best']:.2f} (step {data['grid_step']})")
        print("  solver  start  eps0    log strength  excess loss  steps    work  finished")
        for r in data["runs"]:
            print(
                f"  {r['solver']:<8}{r['start']:>5.1f}{r['eps0']:>8.0e}{r['log_strength']:>13.4f}"
                f"{r['excess']:>13.1e}{r['steps']:>7}{r['work']:>8.0f}  {r['finished']}"
            )
    if "tv" in found:
        data = found["tv"]
        print(
            f"\nTV, two log-parameters (noisy: training {data['noisy']['training_psnr']:.2f} dB, Set12 "
            f"{data['noisy']['test_psnr']:.2f} dB)"
        )
        print(
            "  solver              theta               loss     training dB  Set12 dB  steps   work  seconds"
        )
        for r in data["runs"]:
            print(
                f"  {r['solver']:<18}{r['theta']!s:<21}{r['training_loss']:>8.4f}{r['training_psnr']:>12.3f}"
                f"{r['test_psnr']:>11.3f}{r['steps']:>7}{r['work']:>8.0f}{r['seconds']:>8.0f}"
            )
        print("  training loss at work  " + "".join(f"{w:>10}" for w in (125, 250, 500, 1000, 2000)))
        for name, curve in data["curves"].items():
            print(f"  {name:<23}" + "".join(f"{_at(curve, w):>10.4f}" for w in (125, 250, 500, 1000, 2000)))
    experts = {key: value for key, value in found.items() if key.startswith("foe_")}
    if experts:
        print(f"\nField of Experts (noisy Set12: {next(iter(experts.values()))['noisy']:.2f} dB)")
        print("  solver              work     loss   training dB  Set12 dB")
        for name, data in experts.items():
            for row in data["curve"]:
                if "test_psnr" in row:
                    print(
                        f"  {name:<16}{row['work']:>8.0f}{row['loss']:>9.4f}{row['training_psnr']:>12.3f}"
                        f"{row['test_psnr']:>11.3f}"
                    )
        from imagereg.preview import write_curves

        curves = {
            name: (
                [math.log10(row["work"]) for row in data["curve"] if "test_psnr" in row],
                [row["test_psnr"] for row in data["curve"] if "test_psnr" in row],
            )
            for name, data in experts.items()
        }
        write_curves(
            curves, folder / "foe.png", x="log10 lower-level and adjoint iterations", y="Set12 PSNR / dB"
        )
    write(folder / "bilevel.json", {"machine": MACHINE, **found})


def _at(curve: list[list[float]], work: float) -> float:
    """The loss of the last step within some work."""
    within = [loss for used, loss in curve if used <= work]
    return within[-1] if within else math.nan


def write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("piece", choices=("quadratic", "rof", "tv", "foe", "table", "export"))
    parser.add_argument("--solver", choices=("maid", "hoag", "hoag_exponential"), default="maid")
    parser.add_argument("--budget", type=float, default=4000, help="work of a Field of Experts run")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "bilevel")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.piece == "foe":
        result = foe(options.solver, options.output, options.budget)
        write(options.output / f"foe_{options.solver}.json", result)
    elif options.piece == "export":
        export(options.solver, options.output)
    elif options.piece != "table":
        file = options.output / f"{options.piece}.json"
        work = {"quadratic": quadratic, "rof": lambda: rof(file), "tv": lambda: tv(file)}[options.piece]
        write(file, work())
    table(options.output)


if __name__ == "__main__":
    main()
