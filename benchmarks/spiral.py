"""SPIRAL-TAP: convergence on its own kind of demo, low counts against MLEM, sub-problems against CVXPY.

    python benchmarks/spiral.py demo --intensities equal   (or uniform) 1e5 unknowns, 1500 of them not 0
    python benchmarks/spiral.py emission --method tv       (or mlem, tv_anisotropic, wavelet, sparse,
                                                           partition, partition_invariant)
    python benchmarks/spiral.py sub-problems               every penalty against CVXPY or every partition
    python benchmarks/spiral.py table                      print all there is, write spiral.json, pictures

Emission: the Shepp-Logan head, 128 x 128, 120 views of 185 columns, exact projections, 1e5 counts in all,
three draws of the noise; MLEM stopped at its best iteration, penalties at their best common strength, at
their end, and stopped at their best iteration too: cycle spinning (partition_invariant) has no minimum to
converge to.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from deepinv.physics import LinearPhysics
from scenes import MACHINE

import imagereg as ir
from imagereg.fidelities.poisson import KullbackLeibler
from imagereg.phantoms.shepp_logan import head
from imagereg.priors.dyadic import DyadicPartition, TranslationInvariantPartition
from imagereg.priors.sparse import BoundedWavelet, SparsePixels
from imagereg.priors.tv import TV
from imagereg.solvers.base import iterate
from imagereg.solvers.mlem import MLEM
from imagereg.solvers.problem import Problem
from imagereg.solvers.spiral import Spiral

ROOT = Path(__file__).resolve().parents[1]
COUNTS = 1e5
STRENGTHS = {
    "tv": np.logspace(-0.625, 0.125, 13),
    "tv_anisotropic": np.logspace(-0.75, 0, 7),
    "wavelet": np.logspace(-2.5, 0.5, 7),
    "sparse": np.logspace(-3, 0, 7),
    "partition": np.logspace(-2.5, 0.5, 7),
    "partition_invariant": np.logspace(-2.25, -1, 21),
}


class Sparse(LinearPhysics):
    """y = S x with a sparse matrix; images (1, 1, 250, 400)."""

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        super().__init__()
        self.matrix, self.transpose = matrix, matrix.T.tocsr()

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """S x."""
        return torch.from_numpy(self.matrix @ x.flatten().numpy())[None, None, None]

    def A_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        """S^T y."""
        return torch.from_numpy(self.transpose @ y.flatten().numpy()).reshape(1, 1, 250, 400)


def demo(intensities: str, background: float, total: int = 200) -> dict[str, Any]:
    """Iterations until the relative change of x and the excess of the objective fall below tolerances.

    The matrix of the toolbox's own demo is nowhere described, but its data are: 15.03 counts on average, 145
    at most. Equal intensities seen by 18 of the 4e4 data each have that maximum (135 with 20, 164 with 15);
    of those that are uniform on [0, 1], some are so faint that single counts decide on them.
    """
    random = np.random.default_rng(0)
    unknowns, data = 100_000, 40_000
    ones = {"equal": 18, "uniform": 40}[intensities]
    x = np.zeros(unknowns)
    places = random.choice(unknowns, 1500, replace=False)
    x[places] = 1.0 if intensities == "equal" else random.random(1500)
    rows = np.concatenate([random.choice(data, ones, replace=False) for _ in range(unknowns)])
    columns = np.repeat(np.arange(unknowns), ones)
    matrix = scipy.sparse.csr_matrix((np.full(rows.size, 1 / ones), (rows, columns)), shape=(data, unknowns))
    x *= 15.03 * data / (matrix @ x).sum()
    counts = torch.from_numpy(random.poisson(matrix @ x + background)).double()[None, None, None]
    fidelity = KullbackLeibler(counts, background=max(background, 1e-10))
    problem = Problem(fidelity, Sparse(matrix), (SparsePixels(0.02),), (0.0, None))
    changes, objectives, solves, before = [], [], 0, None
    began = time.perf_counter()
    for state in iterate(Spiral(), problem, total=total):
        solves += state.memory["solves"]
        objectives.append(state.objective)
        change = np.inf if before is None else float((state.image - before).norm() / state.image.norm())
        changes.append(change)
        before = state.image
        if change <= 1e-8:
            break
    final = objectives[-1]
    assert before is not None
    return {
        "intensities": intensities,
        "background": background,
        "mean": float(counts.mean()),
        "largest": float(counts.max()),
        "iterations": len(changes),
        "sub-problems": solves,
        "seconds": time.perf_counter() - began,
        "change": {f"{t:g}": first(changes, t) for t in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)},
        "excess": {
            f"{t:g}": first([(v - final) / abs(final) for v in objectives], t) for t in (1e-2, 1e-4, 1e-6)
        },
        "error": float(np.linalg.norm(before.flatten().numpy() - x) / np.linalg.norm(x)),
        "nonzeros": int((before > 0).sum()),
    }


def first(values: list[float], tolerance: float) -> int | None:
    """The first iteration from which on all values keep within the tolerance."""
    beyond = [k for k, v in enumerate(values) if v > tolerance]
    last = beyond[-1] + 1 if beyond else 0
    return last + 1 if last < len(values) else None


def emission(seed: int) -> ir.Measurement:
    """Counts of the head: 1e5 of them, on average."""
    side = 128
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 120, endpoint=False), 185, pixel=1.0)
    volume = ir.Volume((side, side), 1.0)
    body = head().placed(volume)
    clean = torch.from_numpy(body.project(geometry)).reshape(1, 1, 120, 185).clamp_min(0).float()
    factor = COUNTS / float(clean.sum())
    truth = torch.from_numpy(body.image(volume)).reshape(1, 1, side, side) * factor
    noise = ir.PoissonNoise()
    counts = noise.sample(clean * factor, seed=seed)
    return ir.Measurement(counts, physics=ir.tomography(geometry, volume), noise=noise, truth=truth)


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    """In dB, for the range of the truth."""
    return float(-10 * ((image - truth) / truth.max()).square().mean().log10())


def compare(method: str, file: Path) -> dict[str, Any]:
    """PSNR of three draws: MLEM at every iteration, or a penalty at every strength."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"method": method, "rows": []}
    scans = [emission(seed) for seed in range(3)]
    if method == "mlem":
        curves = []
        for scan in scans:
            problem = Problem(KullbackLeibler(scan.data), scan.physics)
            curves.append([psnr(state.image, scan.truth) for state in iterate(MLEM(), problem, total=100)])
        means = np.mean(curves, 0)
        kept["rows"] = [{"iteration": k + 1, "psnr": float(v)} for k, v in enumerate(means)]
        kept["own"] = float(np.mean([max(curve) for curve in curves]))
        return kept
    for strength in STRENGTHS[method]:
        if any(np.isclose(row["strength"], strength) for row in kept["rows"]):
            continue
        paths, iterations, seconds = [], [], []
        for scan in scans:
            options = {"penalty": method, "strength": float(strength), "iterations": 100, "tolerance": 1e-3}
            path = []
            for state in ir.iterate(scan, "spiral_tap", **options):
                path.append(psnr(state.image, scan.truth))
            paths.append(path + [path[-1]] * (100 - len(path)))
            iterations.append(state.iteration)
            seconds.append(state.seconds)
        kept["rows"].append(
            {
                "strength": float(strength),
                "psnr": float(np.mean([path[-1] for path in paths])),
                "psnr_stopped": float(np.mean(paths, 0).max()),
                "stopped": int(np.mean(paths, 0).argmax()) + 1,
                "iterations": float(np.mean(iterations)),
                "seconds": float(np.mean(seconds)),
            }
        )
        file.write_text(json.dumps(kept, indent=1))
    return kept


def sub_problems() -> dict[str, Any]:
    """Relative excess of every penalty's sub-problem over the minimum of CVXPY or of enumeration."""
    import cvxpy as cp

    s = 0.3 + torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = cp.Variable((8, 8))
    down = cp.vstack([x[1:, :] - x[:-1, :], np.zeros((1, 8))])
    right = cp.hstack([x[:, 1:] - x[:, :-1], np.zeros((8, 1))])
    lengths = cp.norm(cp.vstack([cp.vec(down, order="C"), cp.vec(right, order="C")]), 2, axis=0)
    wavelet = BoundedWavelet(0.3, wavelet="haar", levels=2, accuracy=1e-10, iterations=1000)
    matrix = (
        wavelet.operator.A(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).reshape(64, 64).T.numpy()
    )
    details = wavelet.operator.details(s).flatten().numpy()
    cases = {
        "sparse": (SparsePixels(0.3), cp.sum(x)),
        "wavelet": (wavelet, cp.norm1(cp.multiply(details, matrix @ cp.vec(x, order="C")))),
        "tv": (TV(0.3, accuracy=1e-10, iterations=3000), cp.sum(lengths)),
        "tv_anisotropic": (
            TV(0.3, isotropic=False, accuracy=1e-10, iterations=3000),
            cp.sum(cp.abs(down)) + cp.sum(cp.abs(right)),
        ),
    }
    found = {}
    for name, (prior, expression) in cases.items():
        objective = cp.Minimize(0.5 * cp.sum_squares(x - s[0, 0].numpy()) + 0.3 * expression)
        reference = cp.Problem(objective, [x >= 0])
        reference.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
        v, _ = prior.prox_within(s, 1.0, (0.0, None))
        value = float(0.5 * (v - s).square().sum() + prior.fn(v)[0])
        found[name] = abs(value - reference.value) / reference.value
    small = s[..., :4, :4]
    best = min(cost(small[0, 0], cells, 0.3) for cells in partitions(4, 0, 0))
    v, _ = DyadicPartition(0.3).prox_within(small, 1.0, (0.0, None))
    value = float(0.5 * (v - small).square().sum() + DyadicPartition(0.3).fn(v)[0])
    found["partition"] = abs(value - best) / best
    total = torch.zeros_like(s)
    for shift in itertools.product(range(8), repeat=2):
        moved = DyadicPartition(0.3).prox_within(torch.roll(s, shift, (2, 3)), 1.0, (0.0, None))[0]
        total += torch.roll(moved, (-shift[0], -shift[1]), (2, 3)) / 64
    spun = TranslationInvariantPartition(0.3).prox_within(s, 1.0, (0.0, None))[0]
    found["partition_invariant"] = float((spun - total).abs().max())
    return found


def partitions(side: int, row: int, column: int) -> list[list[tuple[int, int, int]]]:
    """Every recursive dyadic partition of a square."""
    whole = [[(row, column, side)]]
    if side == 1:
        return whole
    half = side // 2
    below = [partitions(half, row + a, column + b) for a in (0, half) for b in (0, half)]
    return whole + [list(itertools.chain.from_iterable(choice)) for choice in itertools.product(*below)]


def cost(s: torch.Tensor, cells: list[tuple[int, int, int]], t: float) -> float:
    """1/2 ||v - s||² + t cells for the best v >= 0 on the cells."""
    blocks = [s[r : r + n, c : c + n] for r, c, n in cells]
    return float(sum(0.5 * (b - b.mean().clamp_min(0)).square().sum() + t for b in blocks))


def table(folder: Path) -> None:
    """Print every table of which there are results, write them as one JSON, and draw the reconstructions."""
    found = {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("*.json")) if p.stem != "spiral"}
    for name, result in found.items():
        if name.startswith("demo"):
            print(f"\n{name}: {json.dumps(result)}")
        if name == "sub-problems":
            print("\nsub-problems, relative excess: " + "  ".join(f"{k} {v:.1e}" for k, v in result.items()))
    runs = {name: r for name, r in found.items() if name.startswith("emission") and r["rows"]}
    best: dict[str, dict[str, float]] = {}
    print("\nemission, 1e5 counts, mean PSNR of three draws")
    for result in runs.values():
        row = max(result["rows"], key=lambda r: r["psnr"])
        best[result["method"]] = row
        settings = {key: round(value, 4) for key, value in row.items() if key != "psnr"}
        print(f"  {result['method']:<20} {row['psnr']:.2f} dB  {settings}")
        stopped = max(result["rows"], key=lambda r: r.get("psnr_stopped", -np.inf))
        if "psnr_stopped" in stopped:
            print(
                f"  {'':<20} {stopped['psnr_stopped']:.2f} dB  stopped at step {stopped['stopped']}, "
                f"strength {stopped['strength']:.3g}"
            )
    if best:
        draw(folder, best)
    (folder / "spiral.json").write_text(json.dumps({"machine": MACHINE, **found}, indent=1))


def draw(folder: Path, best: dict[str, dict[str, float]]) -> None:
    """The truth and every method's best image of the first draw."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    scan = emission(0)
    images = {"truth": scan.truth}
    for method, row in best.items():
        if method == "mlem":
            problem = Problem(KullbackLeibler(scan.data), scan.physics)
            *_, state = iterate(MLEM(), problem, total=int(row["iteration"]))
        else:
            options = {"penalty": method, "strength": row["strength"], "iterations": 100, "tolerance": 1e-3}
            *_, state = ir.iterate(scan, "spiral_tap", **options)
        images[f"{method} {psnr(state.image, scan.truth):.1f} dB"] = state.image
    figure, axes = plt.subplots(2, (len(images) + 1) // 2, figsize=(3.2 * ((len(images) + 1) // 2), 6.8))
    top = float(scan.truth.max())
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, image) in zip(axes.flat, images.items(), strict=False):
        axis.imshow(image[0, 0], vmin=0, vmax=0.6 * top, cmap="gray")
        axis.set_title(name)
    figure.tight_layout()
    figure.savefig(folder / "emission.png", dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("piece", choices=("demo", "emission", "sub-problems", "table"))
    parser.add_argument("--method", default="tv", choices=("mlem", *STRENGTHS))
    parser.add_argument("--intensities", default="equal", choices=("equal", "uniform"), help="of the demo")
    parser.add_argument("--background", type=float, default=0.0, help="counts of a datum, in the demo")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "spiral")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.piece == "table":
        table(options.output)
        return
    name = options.piece
    if options.piece == "demo":
        name = f"demo_{options.intensities}" + (f"_{options.background:g}" if options.background else "")
        result = demo(options.intensities, options.background)
    elif options.piece == "emission":
        name = f"emission_{options.method}"
        result = compare(options.method, options.output / f"{name}.json")
    else:
        result = sub_problems()
    (options.output / f"{name}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
