"""How long total variation takes, to a relative duality gap of 1e-3, beside others.

    python benchmarks/solvers.py [--size 512] [--views 180] [--budget 300] [--only NAME ...] [--out FILE]

A Shepp-Logan phantom, parallel beam, 2 % noise, min 1/2 ||A x - y||^2 + lambda TV(x), x >= 0 where the
contender can, with lambda from the same relative strength:

ours     PDHG on our projector until its own duality gap is 1e-3. Its objective P is then within a
         thousandth of the least, and P (1 + 1e-3) is what the others on the same scan have to reach.
fista    our FISTA on the same problem.
astra    the loop that one writes by hand: proximal gradients with momentum, ASTRA's CPU kernels for A and
         A^T, scikit-image's `denoise_tv_chambolle` for the proximal step.
deepinv  deepinv's Chambolle-Pock iteration (`PDCP`) with K = A on its own `Tomography` and its own TV
         prox. Its A is another discretisation, so its target comes from our PDHG on deepinv's operator.

Compilation and first calls are apart (one step of each beforehand); looking at the objective is not timed.
A contender that has not arrived after `--budget` seconds is stopped, and the table says how far it came.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import imagereg as ir
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.methods.support.scaling import measure
from imagereg.priors.tv import TV
from imagereg.solvers.base import iterate
from imagereg.solvers.fista import FISTA
from imagereg.solvers.pdhg import PDHG
from imagereg.solvers.problem import Problem

STRENGTH, GAP = 0.03, 1e-3


@dataclass
class Row:
    """One line of the table."""

    who: str
    seconds: float
    iterations: int
    excess: float
    gap: float | None
    per_iteration_ms: float
    preparation: float
    arrived: bool
    note: str = ""


@dataclass
class Task:
    """What all contenders solve, and how they are watched."""

    scan: ir.Measurement
    problem: Problem
    strength: float
    budget: float
    target: float = float("nan")


def phantom(size: int) -> torch.Tensor:
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    return torch.from_numpy(resize(shepp_logan_phantom(), (size, size)).astype(np.float32))[None, None]


def task_of(size: int, views: int, budget: float) -> Task:
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), columns=size * 3 // 2)
    physics = ir.tomography(geometry, ir.Volume((size, size)))
    noise = ir.RelativeNoise(0.02)
    scan = ir.Measurement(noise.sample(physics.A(phantom(size)), seed=0), physics=physics, noise=noise)
    problem, strength = regularised(physics, scan.data)
    return Task(scan, problem, strength, budget)


def regularised(physics: Any, data: torch.Tensor) -> tuple[Problem, float]:
    bare = Problem(LeastSquares(data), physics, (), (0.0, None))
    strength = float(measure(bare).linear(STRENGTH))
    return Problem(LeastSquares(data), physics, (TV(strength),), (0.0, None)), strength


def ours(task: Task) -> Row:
    next(iterate(PDHG(spectrum=1), task.problem, total=1))
    task.problem.__dict__.pop("norm", None)
    task.problem.physics.__dict__.pop("_certified", None)
    start = measured = time.perf_counter()
    solver = PDHG()
    states = iterate(solver, task.problem, total=5000)
    state = next(states)
    preparation = time.perf_counter() - start
    for state in states:
        # The stopping rule is a part of the method, so its look at the gap is timed.
        if state.iteration % 10 == 0 and (state.gap <= GAP or time.perf_counter() - measured > task.budget):
            break
    seconds = time.perf_counter() - start
    assert state.objective is not None and state.gap is not None
    task.target = state.objective * (1 + GAP)
    return Row(
        "ours: PDHG",
        seconds,
        state.iteration,
        0.0,
        state.gap,
        1e3 * (seconds - preparation) / max(state.iteration - 1, 1),
        preparation,
        state.gap <= GAP,
        task.problem.physics.projector.backend,
    )


def race(
    who: str, steps: Iterator[torch.Tensor], objective: Callable[[torch.Tensor], float], task: Task
) -> Row:
    """Time a generator of images until the objective is at the target."""
    spent, count, value, preparation = 0.0, 0, float("inf"), 0.0
    next(steps)  # first calls, compilation
    while True:
        start = time.perf_counter()
        image = next(steps)
        spent += time.perf_counter() - start
        count += 1
        value = objective(image)
        if value <= task.target or spent > task.budget:
            break
    excess = value / (task.target / (1 + GAP)) - 1
    return Row(who, spent, count, excess, None, 1e3 * spent / count, preparation, value <= task.target)


def fista(task: Task) -> Row:
    def steps() -> Iterator[torch.Tensor]:
        yield next(iterate(FISTA(), task.problem, total=1)).image
        for state in iterate(FISTA(), task.problem, total=100_000):
            yield state.image

    return race("ours: FISTA", steps(), lambda x: task.problem.objective(x), task)  # type: ignore[arg-type,return-value]


def astra_loop(task: Task) -> Row:
    import astra
    from skimage.restoration import denoise_tv_chambolle

    from imagereg.geometry.astra_format import to_astra

    scan = task.scan
    volume = scan.volume
    assert scan.geometry is not None and volume is not None
    beam, grid = to_astra(scan.geometry, volume)
    projector = astra.create_projector("linear", beam, grid)
    operator = astra.OpTomo(projector)
    shape, y = volume.shape, scan.data.numpy().reshape(-1)
    lipschitz = task.problem.norm**2

    def steps() -> Iterator[torch.Tensor]:
        x = before = np.zeros(shape, np.float32)
        age = 1.0
        while True:
            older = (1 + (1 + 4 * age * age) ** 0.5) / 2
            ahead = x + (age - 1) / older * (x - before)
            slope = operator.T @ (operator @ ahead.ravel() - y)
            moved = ahead - slope.reshape(shape) / lipschitz
            new = denoise_tv_chambolle(moved, weight=task.strength / lipschitz, eps=1e-6, max_num_iter=50)
            before, x, age = x, np.maximum(new, 0).astype(np.float32), older
            yield torch.from_numpy(x)[None, None]

    row = race("ASTRA CPU + scikit-image", steps(), lambda x: task.problem.objective(x), task)  # type: ignore[arg-type,return-value]
    row.note = "one thread in ASTRA"
    return row


def deepinv_pdcp(task: Task) -> Row:
    import deepinv
    from deepinv.optim.data_fidelity import L2
    from deepinv.optim.optim_iterators import CPIteration
    from deepinv.optim.prior import TVPrior

    size = task.problem.like.shape[-1]
    views = task.scan.data.shape[-2]
    angles = torch.linspace(0, 180, views + 1)[:-1]
    physics = deepinv.physics.Tomography(angles=angles, img_width=size, circle=False, device="cpu")
    y = physics.A(phantom(size))
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    y = y + 0.02 * y.norm() * noise / noise.norm()
    problem, strength = regularised(physics, y)
    reference = None
    start = time.perf_counter()
    for reference in iterate(PDHG(), problem, total=2000):
        late = time.perf_counter() - start > task.budget
        if reference.iteration % 10 == 0 and (reference.gap <= GAP or late):
            break
    seconds = time.perf_counter() - start
    assert reference is not None and reference.objective is not None
    own = Task(task.scan, problem, strength, task.budget, reference.objective * (1 + GAP))
    norm = problem.norm
    parameters = {
        "K": physics.A,
        "K_adjoint": physics.A_adjoint,
        "stepsize": 0.99 / norm,
        "stepsize_dual": 0.99 / norm,
        "beta": 1.0,
        "lambda": strength,
        "g_param": None,
    }
    iteration = CPIteration(g_first=False, has_cost=False)
    fidelity, prior = L2(), TVPrior(n_it_max=20)
    plain = deepinv.physics.Denoising()

    def steps() -> Iterator[torch.Tensor]:
        x = physics.A_adjoint(y)
        current = {"est": (x, x, torch.zeros_like(y))}
        while True:
            with torch.no_grad():
                current = iteration(current, fidelity, prior, parameters, y, plain)
            yield current["est"][0]

    row = race("deepinv: PDCP, its Tomography", steps(), problem.objective, own)  # type: ignore[arg-type]
    steps_taken = f"{reference.iteration} steps, gap {reference.gap:.1e}"
    row.note = f"our PDHG on deepinv's operator: {seconds:.1f} s, {steps_taken}"
    return row


CONTENDERS = {"fista": fista, "astra": astra_loop, "deepinv": deepinv_pdcp}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--size", type=int, default=512)
    arguments.add_argument("--views", type=int, default=180)
    arguments.add_argument("--budget", type=float, default=300.0, help="seconds for each contender")
    arguments.add_argument("--only", nargs="*", choices=[*CONTENDERS, "ours"], default=None)
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "solvers.json")
    given = arguments.parse_args()
    task = task_of(given.size, given.views, given.budget)
    rows = [ours(task)]
    for name, contender in CONTENDERS.items():
        if given.only is None or name in given.only:
            rows.append(contender(task))
    threads = {"torch": torch.get_num_threads(), "numba": numba.get_num_threads(), "cores": os.cpu_count()}
    table = Table(
        title=f"TV, {given.size}^2 x {given.views} views, relative duality gap {GAP:g}; threads {threads}"
    )
    for heading in (
        "who",
        "seconds",
        "steps",
        "ms a step",
        "preparation s",
        "above the target's P",
        "gap",
        "note",
    ):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.who,
            f"{row.seconds:.2f}" if row.arrived else f"> {row.seconds:.0f}",
            str(row.iterations),
            f"{row.per_iteration_ms:.1f}",
            f"{row.preparation:.2f}",
            f"{row.excess:+.1e}",
            "" if row.gap is None else f"{row.gap:.1e}",
            row.note,
        )
    Console(width=160).print(table)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "size": given.size,
        "views": given.views,
        "strength": STRENGTH,
        "gap": GAP,
        "threads": threads,
        "processor": platform.processor() or platform.machine(),
        "load": os.getloadavg(),
        "rows": [asdict(row) for row in rows],
    }
    given.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
