"""SPIRAL-TAP and its sub-problems against CVXPY; MLEM against the limit without a penalty."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch
from deepinv.physics import LinearPhysics

from imagereg.fidelities.least_squares import LeastSquares
from imagereg.fidelities.poisson import KullbackLeibler, TransmissionPoisson
from imagereg.priors.dyadic import DyadicPartition, TranslationInvariantPartition
from imagereg.priors.quadratic import Quadratic
from imagereg.priors.sparse import BoundedWavelet, SparsePixels
from imagereg.priors.tv import TV
from imagereg.solvers.base import iterate
from imagereg.solvers.mlem import MLEM
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.spiral import Spiral
from imagereg.solvers.state import State

SHAPE = (6, 10)


class Dense(LinearPhysics):
    """y = M x for images (B, 1, 6, 10)."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        return (x.flatten(1) @ self.matrix.T).reshape(x.shape[0], 1, 1, -1)

    def A_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        return (y.flatten(1) @ self.matrix).reshape(y.shape[0], 1, *SHAPE)


def total_variation(x: cp.Variable, isotropic: bool) -> cp.Expression:
    down = cp.vstack([x[1:, :] - x[:-1, :], np.zeros((1, x.shape[1]))])
    right = cp.hstack([x[:, 1:] - x[:, :-1], np.zeros((x.shape[0], 1))])
    if not isotropic:
        return cp.sum(cp.abs(down)) + cp.sum(cp.abs(right))
    return cp.sum(cp.norm(cp.vstack([cp.vec(down, order="C"), cp.vec(right, order="C")]), 2, axis=0))


def haar(x: cp.Variable) -> cp.Expression:
    prior = BoundedWavelet(1.0, wavelet="haar", levels=2)
    size = int(np.prod(x.shape))
    rows = prior.operator.A(torch.eye(size, dtype=torch.float64).reshape(size, 1, *x.shape)).reshape(
        size, size
    )
    details = prior.operator.details(torch.zeros(1, 1, *x.shape, dtype=torch.float64)).flatten()
    return cp.norm1(cp.multiply(details.numpy(), rows.T.numpy() @ cp.vec(x, order="C")))


PENALTIES: dict[str, tuple[Callable[[float], Any], Callable[[cp.Variable], cp.Expression]]] = {
    "sparse": (SparsePixels, cp.sum),
    "wavelet": (lambda r: BoundedWavelet(r, wavelet="haar", levels=2, accuracy=1e-9, iterations=400), haar),
    "tv": (lambda r: TV(r, accuracy=1e-9, iterations=400), lambda x: total_variation(x, True)),
    "tv_anisotropic": (
        lambda r: TV(r, isotropic=False, accuracy=1e-9, iterations=400),
        lambda x: total_variation(x, False),
    ),
}


def measured(seed: int = 0) -> tuple[Dense, torch.Tensor]:
    """(40, 60) matrix and counts of 8 bright pixels."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(40, 60, dtype=torch.float64, generator=generator)
    matrix = matrix * (torch.rand(40, 60, dtype=torch.float64, generator=generator) < 0.3)
    x = torch.zeros(1, 1, *SHAPE, dtype=torch.float64)
    x.view(-1)[torch.randperm(60, generator=generator)[:8]] = 50.0
    physics = Dense(matrix)
    return physics, torch.poisson(physics.A(x), generator=generator)


def run(solver: Any, problem: Problem, total: int) -> State:
    *_, last = iterate(solver, problem, total=total)
    return last


@pytest.mark.parametrize("bounds", [(0.0, None), (0.0, 0.5)])
@pytest.mark.parametrize("name", PENALTIES)
def test_every_sub_problem_is_solved(name: str, bounds: tuple[float, float | None]) -> None:
    make, expression = PENALTIES[name]
    s = 0.3 + torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = cp.Variable((8, 8))
    limits = [x >= 0] + ([] if bounds[1] is None else [x <= bounds[1]])
    objective = 0.5 * cp.sum_squares(x - s[0, 0].numpy()) + 0.7 * 0.3 * expression(x)
    reference = cp.Problem(cp.Minimize(objective), limits)
    reference.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    prior = make(0.3)
    v, dual = prior.prox_within(s, 0.7, bounds)
    value = float(0.5 * (v - s).square().sum() + 0.7 * prior.fn(v)[0])
    assert value == pytest.approx(reference.value, rel=1e-6)
    assert float(v.min()) >= 0
    warm, _ = prior.prox_within(s, 0.7, bounds, dual, iterations=3)
    torch.testing.assert_close(warm, v, rtol=0, atol=1e-4)
    steps = torch.tensor([0.7, 0.1], dtype=torch.float64).reshape(2, 1, 1, 1)
    batch, _ = prior.prox_within(s.expand(2, -1, -1, -1).contiguous(), steps, bounds)
    torch.testing.assert_close(batch[:1], v, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_counts_of_emission_agree_with_cvxpy(name: str) -> None:
    make, expression = PENALTIES[name]
    physics, y = measured()
    x = cp.Variable(SHAPE)
    mean = physics.matrix.numpy() @ cp.vec(x, order="C") + 1e-10
    counts = y.flatten().numpy()
    value = cp.sum(mean) - cp.sum(cp.multiply(counts, cp.log(mean))) + 0.3 * expression(x)
    reference = cp.Problem(cp.Minimize(value), [x >= 0])
    reference.solve(solver=cp.CLARABEL)
    problem = Problem(KullbackLeibler(y, background=1e-10), physics, (make(0.3),), (0.0, None))
    state = run(Spiral(), problem, 110)
    constant = float((y - torch.xlogy(y, y)).sum())
    assert state.objective is not None
    assert state.objective + constant == pytest.approx(reference.value, rel=1e-6)


def test_sparse_solution_meets_the_optimality_conditions() -> None:
    physics, y = measured(2)
    problem = Problem(KullbackLeibler(y, background=1e-10), physics, (SparsePixels(0.5),), (0.0, None))
    state = run(Spiral(), problem, 400)
    slope = physics.A_adjoint(problem.fidelity.grad(physics.A(state.image))) + 0.5
    support = state.image > 0
    assert 0 < int(support.sum()) < 60
    assert float(slope[support].abs().max()) < 1e-6
    assert float(slope[~support].min()) > -1e-6


@pytest.mark.parametrize("strength", [0.5, 5.0])
def test_counts_in_transmission_agree_with_cvxpy(strength: float) -> None:
    physics, _ = measured(3)
    generator = torch.Generator().manual_seed(4)
    truth = 0.2 * torch.rand(1, 1, *SHAPE, dtype=torch.float64, generator=generator)
    counts = torch.poisson(300.0 * torch.exp(-physics.A(truth)), generator=generator)
    x = cp.Variable(SHAPE)
    line = physics.matrix.numpy() @ cp.vec(x, order="C")
    value = cp.sum(300 * cp.exp(-line) + cp.multiply(counts.flatten().numpy(), line))
    reference = cp.Problem(cp.Minimize(value + strength * total_variation(x, True)), [x >= 0])
    reference.solve(solver=cp.CLARABEL)
    prior = TV(strength, accuracy=1e-8, iterations=200)
    problem = Problem(TransmissionPoisson(counts, blank=300.0), physics, (prior,), (0.0, None))
    state = run(Spiral(), problem, 150)
    least = float((counts - torch.xlogy(counts, counts / 300.0)).sum())
    assert state.objective is not None
    assert state.objective + least == pytest.approx(reference.value, rel=1e-4)


def test_without_penalty_it_is_the_limit_of_mlem() -> None:
    physics, y = measured(5)
    problem = Problem(KullbackLeibler(y, background=1e-10), physics, (), (0.0, None))
    ours, limit = run(Spiral(), problem, 300), run(MLEM(), problem, 1500)
    assert ours.objective is not None
    assert ours.objective == pytest.approx(limit.objective, abs=1e-3)
    assert ours.objective <= limit.objective  # type: ignore[operator]


def test_mlem_never_lowers_the_likelihood_and_keeps_the_counts() -> None:
    physics, y = measured(6)
    problem = Problem(KullbackLeibler(y), physics)
    states = list(iterate(MLEM(), problem, total=30))
    values = [state.objective for state in states]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(values))
    total = float(physics.A(states[-1].image).sum())
    assert total == pytest.approx(float(y.sum()), rel=1e-10)
    assert float(states[-1].image.min()) >= 0


def test_gaussian_data_make_it_a_sparse_least_squares_solver() -> None:
    physics, y = measured(7)
    x = cp.Variable(SHAPE)
    misfit = physics.matrix.numpy() @ cp.vec(x, order="C") - y.flatten().numpy()
    reference = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(misfit) + 2.0 * cp.sum(x)), [x >= 0])
    reference.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    state = run(Spiral(), Problem(LeastSquares(y), physics, (SparsePixels(2.0),), (0.0, None)), 400)
    assert state.objective == pytest.approx(reference.value, rel=1e-7)


@pytest.mark.parametrize("past", [0, 3, 10])
@pytest.mark.parametrize("prior", [SparsePixels(0.3), DyadicPartition(2.0)], ids=["sparse", "partition"])
def test_the_largest_of_the_last_objectives_never_rises(prior: Any, past: int) -> None:
    physics, y = measured(8)
    problem = Problem(KullbackLeibler(y, background=1e-6), physics, (prior,), (0.0, None))
    values = [float(s.memory["objectives"][-1]) for s in iterate(Spiral(past=past), problem, total=60)]
    for k in range(past + 1, len(values)):
        ceiling = max(values[k - past - 1 : k])
        assert values[k] <= ceiling + 1e-9 * abs(ceiling)
    assert values[-1] < values[0]


def test_cycle_spinning_runs_without_an_objective() -> None:
    physics, y = measured(9)
    prior = TranslationInvariantPartition(0.5)
    problem = Problem(KullbackLeibler(y, background=1e-6), physics, (prior,), (0.0, None))
    states = list(iterate(Spiral(), problem, total=30))
    assert states[-1].objective is None
    assert all(state.memory["solves"] == 1 for state in states)
    assert states[-1].residual < states[0].residual  # type: ignore[operator]
    # Nothing takes a step back, so that none may be so long as to make the likelihood much worse.
    misfits = [float(problem.fidelity.fn(state.memory["forward"])) for state in states]
    assert all(later <= 1.2 * earlier for earlier, later in itertools.pairwise(misfits))


def test_items_of_a_batch_are_problems_of_their_own() -> None:
    physics, y = measured(10)
    both = torch.cat((y, 0.2 * y))
    alone = [
        run(
            Spiral(), Problem(KullbackLeibler(d, background=1e-8), physics, (TV(0.3),), (0.0, None)), 25
        ).image
        for d in (y, 0.2 * y)
    ]
    together = run(
        Spiral(), Problem(KullbackLeibler(both, background=1e-8), physics, (TV(0.3),), (0.0, None)), 25
    )
    scale = float(torch.cat(alone).max())
    torch.testing.assert_close(together.image, torch.cat(alone), rtol=0, atol=2e-2 * scale)


def test_what_it_cannot_take_is_refused_by_name() -> None:
    physics, y = measured(11)
    counts = KullbackLeibler(y)
    for fidelity, priors, bounds, word in (
        (counts, (Quadratic(1.0),), (0.0, None), "Quadratic"),
        (counts, (TV(1.0), SparsePixels(1.0)), (0.0, None), "one penalty"),
        (counts, (TV(1.0),), (None, None), "x >= 0"),
    ):
        with pytest.raises(Refusal, match=word):
            next(iterate(Spiral(), Problem(fidelity, physics, priors, bounds), total=1))
    with pytest.raises(Refusal, match="LeastSquares"):
        next(iterate(MLEM(), Problem(LeastSquares(y), physics), total=1))
