"""Sobolev data terms: is the s that the noise spectrum predicts the best one, and what does s do to FWI?

    python benchmarks/sobolev.py denoise --noise white      (low, high) sweep of s and strength, on pictures;
                                                            --scene own: on images of each penalty's own kind
    python benchmarks/sobolev.py deblur --noise white       (low, high) the same behind a blur
    python benchmarks/sobolev.py path                       early stopping of gradient descent, no penalty
    python benchmarks/sobolev.py fwi --s -1 --noise none    (none, white) full waveform inversion; goes on
                                                            where an earlier call stopped
    python benchmarks/sobolev.py table                      print all there is, write sobolev.json, figures

Pictures come from scikit-image; the Marmousi model is in the shared folder (IMAGEREG_SHARED).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import MACHINE

from imagereg.fidelities.frequencies import FrequencyGrid
from imagereg.fidelities.noise_spectrum import fit_order
from imagereg.fidelities.sobolev import Sobolev
from imagereg.physics import blur, gaussian_kernel, identity
from imagereg.priors.tv import TV
from imagereg.solvers.base import iterate
from imagereg.solvers.fourier_admm import FourierADMM, tikhonov
from imagereg.solvers.gradient_descent import GradientDescent
from imagereg.solvers.lbfgs import LBFGS
from imagereg.solvers.problem import Problem
from imagereg.solvers.state import State

ROOT = Path(__file__).resolve().parents[1]
PAUSED = Path(tempfile.gettempdir()) / "imagereg-sobolev"
SCALE = 10.0
ORDERS = (-1.0, -0.5, 0.0, 0.5, 1.0)
NOISES = {"white": 0.0, "low": 1.0, "high": -1.0}
SETTINGS = {"denoise": (0.0, 0.1), "deblur": (1.5, 0.03)}  # width of the blur in pixels, noise
LEVEL = 0.1  # white noise in traces, over their root mean square, most of which is the direct wave
KEPT = (1, 2, 5, *range(10, 101, 5))


def pictures() -> torch.Tensor:
    """(2, 1, 128, 128): the middle of two pictures at half resolution, in [0, 1]."""
    import skimage.data

    found = []
    for name in ("camera", "coins"):
        grey = np.asarray(getattr(skimage.data, name)()) / 255.0
        rows, columns = (n // 2 * 2 for n in grey.shape)
        half = grey[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
        top, left = (half.shape[0] - 128) // 2, (half.shape[1] - 128) // 2
        found.append(torch.from_numpy(half[top : top + 128, left : left + 128]))
    return torch.stack(found)[:, None].float()


def own_kind() -> dict[str, torch.Tensor]:
    """Regions of constant grey (2, 1, 128, 128) for TV, and (8, 1, 128, 128) Gaussian fields whose covariance
    is the inverse of the quadratic penalty's D^T D.

    For the fields penalty and noise are both as they are assumed, so that the predicted s is Bayes' own; TV
    is no logarithm of a probability of regions, and on pictures, which are smoother than either penalty
    thinks, a smaller s makes up for some of that.
    """
    from imagereg.phantoms import ellipses_and_lines

    bodies = [ellipses_and_lines(128, seed=seed) for seed in (0, 1)]
    white = torch.randn((8, 1, 128, 128), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    grid = FrequencyGrid(white.shape, (-2, -1), "neumann")
    gradient = TV().operator
    k = grid.symbol_of(lambda x: gradient.A_adjoint(gradient.A(x)), white)
    assert k is not None
    seen = k.real > 1e-9
    field = grid.multiply(white, torch.where(seen, torch.where(seen, k.real, 1.0) ** -0.5, 0.0))
    regions = torch.from_numpy(np.stack(bodies))[:, None].float()
    return {"tv": regions, "quadratic": (0.5 + 0.2 * field / field.std()).float()}


def coloured(shape: tuple[int, ...], s: float, sigma: float, seed: int) -> torch.Tensor:
    """Noise of power spectrum ∝ (1 + SCALE² |ω|²)^-s and standard deviation sigma."""
    white = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    grid = FrequencyGrid(shape, (-2, -1), "neumann")
    half, full = grid.symbol(lambda squared: (1 + SCALE**2 * squared) ** (-s / 2), white)
    return (sigma * grid.multiply(white, half) / full.square().mean().sqrt()).float()


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean over the batch, in dB for a range of 1."""
    return float(-10 * (image - truth).square().flatten(1).mean(1).log10().mean())


def sweep(piece: str, noise: str, scene: str, file: Path) -> dict[str, Any]:
    """PSNR of the best strength for every s, for total variation and for the quadratic penalty.

    What is in the file already is not done again.
    """
    truths = own_kind() if scene == "own" else dict.fromkeys(("tv", "quadratic"), pictures())
    width, sigma = SETTINGS[piece]
    physics: Any = identity() if not width else blur(gaussian_kernel(width), border="symmetric")
    patch = coloured((1, 1, 64, 64), NOISES[noise], sigma, seed=2)
    found = fit_order(patch, scale=SCALE)
    kept: dict[str, Any] = {
        "piece": piece,
        "noise": noise,
        "scene": scene,
        "true_s": NOISES[noise],
        "fitted_s": found.s,
        "fitted_error": found.error,
        "rows": [],
    }
    if file.exists():
        kept = json.loads(file.read_text())
    for s in ORDERS:
        if any(row["s"] == s for row in kept["rows"]):
            continue
        row: dict[str, Any] = {"s": s}
        for prior, truth in truths.items():
            data = physics.A(truth) + coloured(tuple(truth.shape), NOISES[noise], sigma, seed=1)
            kept["noisy"] = psnr(data, truth)
            fidelity = Sobolev(data, s, scale=SCALE, boundary="neumann")
            row[prior], row[f"{prior}_strength"] = best_strength(fidelity, physics, prior, truth)
        kept["rows"].append(row)
        file.write_text(json.dumps(kept, indent=1))
    return kept


def best_strength(fidelity: Sobolev, physics: Any, prior: str, truth: torch.Tensor) -> tuple[float, float]:
    """The largest PSNR over strengths, four a decade and sixteen next to the best, and where it is."""
    found: dict[float, float] = {}
    image: torch.Tensor | None = None

    def look(exponent: float) -> None:
        nonlocal image
        strength = 10.0**exponent
        problem = Problem(fidelity, physics, (TV(strength),))
        if prior == "quadratic":
            image = tikhonov(problem, strength)
        else:
            for state in iterate(FourierADMM(rho=10 * strength), problem, total=25, start=image):
                image = state.image
        assert image is not None
        found[exponent] = psnr(image, truth)

    for exponent in np.arange(-3.5, 0.75, 0.25):
        look(float(exponent))
        if found[exponent] < max(found.values()) - 1:
            break
    for step in (0.125, 0.0625):
        centre = max(found, key=lambda e: found[e])
        look(centre - step)
        look(centre + step)
    best = max(found, key=lambda e: found[e])
    return found[best], 10.0**best


def path() -> dict[str, Any]:
    """Deblurring by gradient descent without a penalty: PSNR at its best step and at the last of 400."""
    truth = pictures()[:1]
    physics = blur(gaussian_kernel(1.5), border="symmetric")
    data = physics.A(truth) + coloured(tuple(truth.shape), 0.0, 0.05, seed=3)
    rows = []
    for s in (-0.5, 0.0, 0.5):
        problem = Problem(Sobolev(data, s, scale=SCALE, boundary="neumann"), physics)
        values = [psnr(state.image, truth) for state in iterate(GradientDescent(), problem, total=400)]
        best = int(np.argmax(values))
        rows.append({"s": s, "best": values[best], "best_step": best + 1, "last": values[-1]})
    return {"rows": rows}


def marmousi() -> tuple[torch.Tensor, torch.Tensor, Any]:
    """A crop of Marmousi (88, 160) on a 25 m grid under 200 m of water, its smooth start, and the survey."""
    import scipy.io
    from scipy.ndimage import gaussian_filter, map_coordinates

    from imagereg.physics.wave import surface_survey

    shared = Path(os.environ.get("IMAGEREG_SHARED", ROOT.parent / "shared"))
    velocity = scipy.io.loadmat(shared / "data" / "seismic" / "marmousi_dz10.mat")["vel"]
    rows, columns = np.meshgrid(np.arange(80) * 2.5, 400 + np.arange(160) * 2.5, indexing="ij")
    crop = map_coordinates(velocity, [rows, columns], order=1)
    model = np.concatenate([np.full((8, 160), 1500.0), crop])
    smooth = 1 / gaussian_filter(1 / model, 12.0)
    smooth[:8] = 1500.0
    truth, start = (torch.from_numpy(a).float()[None, None] for a in (model, smooth))
    survey = surface_survey(
        model.shape,
        spacing=25.0,
        seconds=2.4,
        frequency=5.0,
        fastest=5000.0,
        shots=8,
        reference=start,
        stride=3,
    )
    return truth, start, survey


def fwi(s: float, noise: str, folder: Path, seconds: float, total: int) -> dict[str, Any]:
    """Model error of L-BFGS with an H^s misfit in time, bent at 5 Hz; it goes on from its last pause."""
    truth, start, survey = marmousi()
    clean = survey.A(truth)
    data = clean
    if noise == "white":
        random = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
        data = clean + random * LEVEL * clean.square().mean().sqrt()
    mask = torch.ones_like(truth)
    mask[..., :8, :] = 0
    fidelity = Sobolev(data, s, scale=1 / (2 * np.pi * 5.0 * survey.interval), axes=(-1,))
    problem = Problem(fidelity, survey, (), (1000.0, 4999.0))
    file, pause = folder / f"fwi_{s:g}_{noise}.json", PAUSED / f"fwi_{s:g}_{noise}.pt"
    kept: dict[str, Any] = {"s": s, "noise": noise, "start": relative(start, truth), "rows": []}
    resume = None
    if file.exists() and pause.exists():
        memory = torch.load(pause, weights_only=False)
        kept = json.loads(file.read_text())
        resume = State(memory["image"], memory["iteration"], total, memory=memory)
    if resume is not None and resume.iteration >= total:
        return kept
    began = time.perf_counter()
    PAUSED.mkdir(exist_ok=True)
    solver = LBFGS(first=50.0, mask=mask)
    state = resume
    for state in iterate(solver, problem, total=total, start=start, resume=resume):
        if state.iteration in KEPT or state.finished:
            ahead = (state.memory["forward"] - clean).norm() / clean.norm()
            row = {
                "iteration": state.iteration,
                "error": relative(state.image, truth),
                "misfit": float(ahead),
            }
            kept["rows"].append(row)
            print(s, noise, row, flush=True)
            torch.save({**state.memory, "iteration": state.iteration}, pause)
            file.write_text(json.dumps(kept, indent=1))
        if time.perf_counter() - began > seconds:
            break
    assert state is not None
    torch.save({**state.memory, "iteration": state.iteration}, pause)
    kept["finished"] = state.finished
    return kept


def relative(image: torch.Tensor, truth: torch.Tensor) -> float:
    """||image - truth|| / ||truth||."""
    return float((image - truth).norm() / truth.norm())


def table(folder: Path) -> None:
    """Print every table of which there are results, write them as one JSON, and draw the models."""
    found = {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("*.json")) if p.stem != "sobolev"}
    for name, result in found.items():
        if name.startswith("de"):
            print(
                f"\n{name}: noisy {result['noisy']:.2f} dB, true s {result['true_s']:g}, "
                f"fitted {result['fitted_s']:.2f} ± {result['fitted_error']:.2f}"
            )
            for prior in ("tv", "quadratic"):
                best = max(result["rows"], key=lambda row: row[prior])["s"]
                cells = "  ".join(f"{row['s']:+.1f}: {row[prior]:.2f}" for row in result["rows"])
                print(f"  {prior:<10}{cells}   best s {best:+g}")
        if name == "path":
            for row in result["rows"]:
                best = f"best {row['best']:.2f} @ {row['best_step']}, last {row['last']:.2f}"
                print(f"\npath s {row['s']:+g}: {best}")
    runs = {name: result for name, result in found.items() if name.startswith("fwi")}
    if runs:
        steps = (1, 2, 5, 10, 15, 20)
        print(
            "\nfull waveform inversion: relative model error in % at iteration " + ", ".join(map(str, steps))
        )
        for result in runs.values():
            errors = {row["iteration"]: row["error"] for row in result["rows"]}
            cells = "  ".join(f"{100 * errors[k]:6.2f}" if k in errors else "   -  " for k in steps)
            print(
                f"  s {result['s']:+g} noise {result['noise']:<6} start {100 * result['start']:.2f}  {cells}"
            )
        draw(folder, runs)
    (folder / "sobolev.json").write_text(json.dumps({"machine": MACHINE, **found}, indent=1))


def draw(folder: Path, runs: dict[str, Any]) -> None:
    """Models side by side, and model error against iterations."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    truth, start, _ = marmousi()
    models = {"truth": truth, "start": start}
    for name in runs:
        models[name.replace("_", " ")] = torch.load(PAUSED / f"{name}.pt", weights_only=False)["image"]
    figure, axes = plt.subplots((len(models) + 1) // 2, 2, figsize=(11, 1.6 * len(models) + 1))
    for axis, (name, model) in zip(axes.flat, models.items(), strict=False):
        axis.imshow(model[0, 0], vmin=1500, vmax=4500, extent=(0, 4, 2.2, 0))
        axis.set_title(name)
    figure.tight_layout()
    figure.savefig(folder / "fwi.png", dpi=90)
    figure, axis = plt.subplots(figsize=(7, 5))
    for name, result in runs.items():
        rows = result["rows"]
        style = "-" if result["noise"] == "none" else "--"
        axis.plot([r["iteration"] for r in rows], [100 * r["error"] for r in rows], style, label=name)
    axis.set(xlabel="iteration", ylabel="relative model error in %")
    axis.legend()
    figure.savefig(folder / "fwi_error.png", dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("piece", choices=("denoise", "deblur", "path", "fwi", "table"))
    parser.add_argument("--noise", default="white", choices=("none", *NOISES))
    parser.add_argument("--scene", default="pictures", choices=("pictures", "own"))
    parser.add_argument("--s", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=75.0, help="time after which an inversion pauses")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "sobolev")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.piece == "table":
        table(options.output)
        return
    if options.piece == "fwi":
        name = f"fwi_{options.s:g}_{options.noise}"
        result = fwi(options.s, options.noise, options.output, options.seconds, options.iterations)
    elif options.piece == "path":
        name, result = "path", path()
    else:
        name = f"{options.piece}_{options.noise}" + ("_own" if options.scene == "own" else "")
        result = sweep(options.piece, options.noise, options.scene, options.output / f"{name}.json")
    (options.output / f"{name}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
