"""The loop, stopping rules, refusals, and what every solver promises of its states."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from imagereg.errors import UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.fidelities.poisson import KullbackLeibler
from imagereg.physics import identity, operator_norm
from imagereg.priors.denoiser import DenoiserPrior
from imagereg.priors.gradient import Gradient
from imagereg.priors.quadratic import Quadratic
from imagereg.priors.tv import TV
from imagereg.priors.wavelet import Wavelet
from imagereg.solvers.admm import ADMM
from imagereg.solvers.base import iterate
from imagereg.solvers.cgls import CGLS
from imagereg.solvers.fista import FISTA
from imagereg.solvers.hqs import HQS
from imagereg.solvers.pdhg import PDHG
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.ramp import Ramp
from imagereg.solvers.sirt import SIRT
from imagereg.solvers.spectrum import largest_eigenvalue
from imagereg.solvers.state import State
from imagereg.solvers.stopping import (
    Discrepancy,
    DualityGap,
    RelativeChange,
    Seconds,
    StoppingRule,
    named,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def final(states: Iterator[State]) -> State:
    """The last state, without keeping the others."""
    return deque(states, maxlen=1).pop()


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MATRIX = noise(0, 50, 64).abs() / 8


def physics() -> Any:
    import deepinv

    return deepinv.physics.LinearPhysics(
        A=lambda x, **_: (x.flatten(1) @ MATRIX.mT)[:, None, None],
        A_adjoint=lambda y, **_: (y.flatten(1) @ MATRIX).reshape(-1, 1, 8, 8),
    )


def problem(
    *priors: Any, bounds: tuple[float | None, float | None] = (None, None), items: int = 2
) -> Problem:
    return Problem(LeastSquares(noise(1, items, 1, 1, 50).abs()), physics(), priors, bounds)


def smooth(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return (x + x.roll(1, -1) + x.roll(1, -2)) / 3


CASES: dict[str, tuple[Any, Any]] = {
    "cgls": (CGLS(), lambda: problem(Quadratic(0.1))),
    "sirt": (SIRT(), lambda: problem(bounds=(0.0, None))),
    "fista": (FISTA(), lambda: problem(TV(0.1), bounds=(0.0, None))),
    "fista by backtracking": (
        FISTA(),
        lambda: Problem(
            KullbackLeibler(torch.ones(2, 1, 1, 50).double() * 3, background=1.0), physics(), (), (0.0, None)
        ),
    ),
    "pdhg": (PDHG(), lambda: problem(TV(0.1), Wavelet(0.1, wavelet="haar", levels=2), bounds=(0.0, 1.0))),
    "pdhg, plain": (PDHG(relaxation=1.0), lambda: problem(TV(0.1))),
    "admm": (ADMM(), lambda: problem(TV(0.1), bounds=(0.0, None))),
    "admm, plug and play": (ADMM(), lambda: problem(DenoiserPrior(smooth, 0.1))),
    "hqs": (HQS(steps=6), lambda: problem(DenoiserPrior(smooth, 0.1))),
}
cases = pytest.mark.parametrize(("solver", "make"), CASES.values(), ids=CASES.keys())


@cases
def test_resuming_gives_the_same_iterates(solver: Any, make: Any) -> None:
    """Also from a state that the run has long left behind: a step changes nothing that a state holds."""
    whole = list(iterate(solver, make(), total=12))
    images = [state.image.clone() for state in whole]
    rest = list(iterate(solver, make(), total=12, resume=whole[4]))
    assert [state.iteration for state in rest] == list(range(6, 13))
    for state, image in zip(rest, images[5:], strict=True):
        assert torch.equal(state.image, image)
    for state, image in zip(whole, images, strict=True):
        assert torch.equal(state.image, image)


@cases
def test_the_known_projection_is_that_of_the_image(solver: Any, make: Any) -> None:
    task = make()
    for state in iterate(solver, task, total=30):
        if "forward" in state.memory:
            torch.testing.assert_close(
                state.memory["forward"], task.physics.A(state.image), rtol=1e-9, atol=1e-9
            )
        low, high = task.bounds
        assert low is None or float(state.image.min()) >= low
        assert high is None or float(state.image.max()) <= high
    assert state.finished == "30 iterations"
    assert state.progress == 1.0
    fresh = task.objective(state.image)
    assert state.objective == (None if fresh is None else pytest.approx(fresh))
    assert state.residual == pytest.approx(task.residual(state.image))


@cases
def test_a_start_is_used(solver: Any, make: Any) -> None:
    task = make()
    far = next(iterate(solver, task, total=1, start=noise(9, *task.like.shape).abs()))
    near = next(iterate(solver, task, total=1))
    assert not torch.allclose(far.image, near.image)


def test_every_solver_starts_from_the_minimum_and_stays() -> None:
    task = problem(TV(0.1, accuracy=1e-12), bounds=(0.0, None))
    state = final(iterate(PDHG(), task, total=6000, stop=DualityGap(1e-9, every=100)))
    for solver in (FISTA(inner=300), ADMM(inner=40, tolerance=1e-3), PDHG()):
        again = final(iterate(solver, task, total=600, start=state.image, stop=RelativeChange(1e-9)))
        assert float((again.image - state.image).abs().max()) < 2e-3
        assert again.objective == pytest.approx(state.objective, rel=1e-5)


def test_fista_descends_with_restarts_and_counts_smooth_priors_in() -> None:
    task = problem(Quadratic(0.3, operator=Gradient()))
    state = final(iterate(FISTA(), task, total=3000, stop=RelativeChange(1e-10)))
    slope = task.physics.A_adjoint(task.fidelity.grad(task.physics.A(state.image)))
    slope = slope + task.priors[0].grad(state.image)
    assert float(slope.norm()) < 1e-6


def test_fista_takes_physics_that_are_not_linear() -> None:
    import deepinv

    square = deepinv.physics.Physics(A=lambda x, **_: x.square())
    truth = noise(2, 1, 1, 4, 4).abs() + 0.5
    task = Problem(LeastSquares(truth.square()), square)
    with pytest.raises(Refusal, match="not linear"):
        next(iterate(FISTA(), task, total=1))
    state = final(iterate(FISTA(), task, total=500, start=torch.ones_like(truth), stop=RelativeChange(1e-10)))
    torch.testing.assert_close(state.image, truth, rtol=1e-4, atol=1e-4)
    with pytest.raises(Refusal, match="use FISTA"):
        next(iterate(PDHG(), task, total=1))


def test_plug_and_play_with_the_prox_of_tv_is_tv() -> None:
    """A denoiser that is a proximal operator gives the solution of its prior."""
    task = problem(TV(0.2, accuracy=1e-10, iterations=2000))
    step = 1 / task.norm**2

    def prox(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return task.priors[0].prox(x, step)

    plugged = dataclasses.replace(task, priors=(DenoiserPrior(prox, 0.1),))
    state = final(iterate(FISTA(), plugged, total=300, stop=RelativeChange(1e-9)))
    expected = final(iterate(PDHG(), task, total=4000, stop=DualityGap(1e-8, every=50)))
    assert state.objective is None
    assert task.objective(state.image) == pytest.approx(expected.objective, rel=1e-5)


REFUSALS = [
    (CGLS(), lambda: problem(TV(0.1)), "CGLS takes quadratic priors only, not TV; use PDHG"),
    (CGLS(), lambda: problem(bounds=(0.0, None)), "bounds"),
    (SIRT(), lambda: problem(TV(0.1)), "SIRT takes no prior and was given TV; use PDHG"),
    (
        SIRT(),
        lambda: Problem(LeastSquares(noise(3, 1, 1, 1, 50), torch.ones(1, 1, 1, 50)), physics()),
        "SIRT brings weights of its own",
    ),
    (FISTA(), lambda: problem(TV(0.1), TV(0.2)), "TV and TV; use PDHG or ADMM"),
    (
        FISTA(),
        lambda: problem(Wavelet(0.1), bounds=(0.0, None)),
        "Wavelet has no proximal operator within bounds",
    ),
    (
        PDHG(),
        lambda: problem(DenoiserPrior(smooth, 0.1)),
        "DenoiserPrior is known only by its prox.*use ADMM",
    ),
    (HQS(), lambda: problem(TV(0.1)), "HQS takes one DenoiserPrior and was given TV"),
]


@pytest.mark.parametrize(("solver", "make", "sentence"), REFUSALS)
def test_refusals_name_the_term_and_a_solver_that_would_do(solver: Any, make: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        next(iterate(solver, make(), total=1))


def test_sirt_refuses_operators_with_negative_entries() -> None:
    import deepinv

    signed = deepinv.physics.LinearPhysics(A=lambda x, **_: -x, A_adjoint=lambda y, **_: -y)
    with pytest.raises(Refusal, match="negative entries"):
        next(iterate(SIRT(), Problem(LeastSquares(noise(4, 1, 1, 4, 4)), signed), total=1))


def test_bad_settings_are_refused() -> None:
    for bad in (
        lambda: PDHG(relaxation=2.0),
        lambda: PDHG(ramp=1.5),
        lambda: SIRT(relaxation=0.0),
        lambda: ADMM(inner=0),
        lambda: HQS(steps=0),
        lambda: FISTA(inner=0),
        lambda: Problem(LeastSquares(noise(5, 1, 1, 1, 50)), physics(), (), (1.0, 1.0)),
        lambda: RelativeChange(0.0),
        lambda: Seconds(-1.0),
        lambda: DualityGap(math.inf),
    ):
        with pytest.raises(UsageError):
            bad()


class After(StoppingRule):
    """Stops at an iteration."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, state: State, previous: State | None) -> str:
        return f"iteration {self.n}" if state.iteration >= self.n else ""


def test_stopping_rules_combine() -> None:
    def ends(stop: StoppingRule) -> tuple[int, str]:
        state = final(iterate(CGLS(), problem(Quadratic(0.1)), total=40, stop=stop))
        return state.iteration, state.finished

    assert ends(After(5) | After(9)) == (5, "iteration 5")
    assert ends(After(5) & After(9)) == (9, "iteration 5 and iteration 9")
    assert ends((After(9) & After(3)) | After(12)) == (9, "iteration 9 and iteration 3")
    iteration, reason = ends(RelativeChange(1e-3))
    assert 1 < iteration < 40
    assert reason.startswith("relative change")
    assert ends(Seconds(1e-9)) == (1, "1e-09 seconds")


def test_the_discrepancy_principle_stops_at_the_noise() -> None:
    truth = noise(6, 1, 1, 8, 8).abs()
    clean = physics().A(truth)
    error = 0.1 * noise(7, *clean.shape)
    task = Problem(LeastSquares(clean + error), physics())
    before = None
    for state in iterate(CGLS(), task, total=200, stop=Discrepancy(float(error.norm()))):
        norm = state.residual * float(task.fidelity.data.norm())
        if not state.finished:
            before = norm
    assert "at the noise" in state.finished
    assert norm <= 1.02 * float(error.norm())
    assert before is None or before > 1.02 * float(error.norm())


def test_a_rule_that_needs_a_gap_says_so() -> None:
    with pytest.raises(UsageError, match="CGLS has no duality gap"):
        list(iterate(CGLS(), problem(Quadratic(0.1)), total=20, stop=DualityGap(1e-3)))


def test_rules_by_name() -> None:
    assert named() is None
    assert isinstance(named(relative_change=1e-3), RelativeChange)
    rule = named(duality_gap=1e-2, seconds=30)
    state = final(iterate(PDHG(), problem(TV(0.05)), total=3000, stop=rule))
    assert state.finished.startswith("duality gap")
    assert state.gap <= 1e-2
    with pytest.raises(UsageError, match="did you mean 'relative_change'"):
        named(relativ_change=1.0)


def test_notes_go_with_every_state() -> None:
    states = list(iterate(CGLS(), problem(), total=3, notes=("Weights were used.",)))
    assert all(state.notes == ("Weights were used.",) for state in states)


def test_cgls_ends_where_it_is_exact() -> None:
    task = Problem(LeastSquares(noise(8, 1, 1, 9, 9)), identity())
    *_, state = iterate(CGLS(), task, total=50)
    assert state.iteration <= 2
    assert "rounding" in state.finished
    torch.testing.assert_close(state.image, task.fidelity.data)


def test_the_largest_eigenvalue_of_two_families() -> None:
    """Smooth and rough eigenvectors side by side, for each item of a batch alone."""
    gram = MATRIX.mT @ MATRIX
    grad = Gradient()
    factors = torch.tensor([0.2, 3.0], dtype=torch.float64).reshape(2, 1, 1, 1)

    def operator(x: torch.Tensor) -> torch.Tensor:
        smooth_part = (x.flatten(1) @ gram).reshape(x.shape)
        return smooth_part + factors[: x.shape[0]] * grad.A_adjoint(grad.A(x))

    like = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    found = largest_eigenvalue(operator, like, smooth=torch.ones_like(like), iterations=30, accuracy=1e-4)
    rough = torch.stack(
        [grad.A_adjoint(grad.A(e.reshape(1, 1, 8, 8))).flatten() for e in torch.eye(64).double()]
    )
    for item, factor in enumerate((0.2, 3.0)):
        exact = float(torch.linalg.eigvalsh(gram + factor * rough)[-1])
        assert exact * (1 - 1e-9) <= float(found[item]) <= exact * 1.01


def test_the_norm_of_a_problem_comes_from_its_physics() -> None:
    task = problem()
    assert task.norm == pytest.approx(float(torch.linalg.matrix_norm(MATRIX, 2)), rel=1e-3)
    assert task.norm == operator_norm(task.physics, task.like)


@pytest.mark.parametrize("columns", [16, 21])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_ramp_filtered_step_is_a_proximal_step_in_its_metric(columns: int, weighted: bool) -> None:
    """v - u + sigma M (grad f*(v) - A xbar) = 0, grad f*(v) = v / w + y, whatever the exponent."""
    y, u, seen = (noise(seed, 2, 1, 5, columns) for seed in (10, 11, 12))
    weights = noise(13, 2, 1, 5, columns).square() + 0.1 if weighted else None
    sigma = torch.tensor([0.3, 4.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    for exponent in (0.0, 0.5, 1.0):
        ramp = Ramp.of(LeastSquares(y, weights), exponent)
        v = ramp.dual_step(u, seen, sigma)
        slope = (v if weights is None else v / weights) + y - seen
        torch.testing.assert_close(
            v - u + sigma * ramp.metric(slope), torch.zeros_like(v), rtol=0, atol=1e-12
        )
    plain = LeastSquares(y, weights).prox_conjugate(u + 0.7 * seen, 0.7)
    if not weighted:
        same = Ramp.of(LeastSquares(y), 0.0).dual_step(u, seen, torch.full_like(sigma, 0.7))
        torch.testing.assert_close(same, plain)


def test_a_datum_of_no_weight_stays_out_of_the_filtered_step() -> None:
    y, weights = noise(14, 1, 1, 4, 12), torch.ones(1, 1, 4, 12, dtype=torch.float64)
    weights[..., 5] = 0
    ramp = Ramp.of(LeastSquares(y, weights), 0.5)
    v = ramp.dual_step(torch.zeros_like(y), noise(15, 1, 1, 4, 12), torch.ones(1, 1, 1, 1).double())
    assert bool((v[..., 5] == 0).all()) and bool(torch.isfinite(v).all())


def test_the_ramp_saves_steps_on_a_scan_and_leaves_the_minimum_alone() -> None:
    import numpy as np

    import imagereg as ir

    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 20, endpoint=False), columns=60)
    scan = ir.tomography(geometry, ir.Volume((40, 40)), dtype=torch.float64)
    truth = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    truth[..., 8:30, 10:25] = 1.0
    y = scan.A(truth)
    y = y + 0.02 * y.norm() / y.numel() ** 0.5 * noise(16, *y.shape)
    task = Problem(LeastSquares(y), scan, (TV(0.2),), (0.0, None))
    steps, objectives = {}, {}
    for exponent in (0.0, 0.5):
        state = final(iterate(PDHG(ramp=exponent), task, total=2000, stop=DualityGap(1e-5)))
        steps[exponent], objectives[exponent] = state.iteration, state.objective
        assert state.finished.startswith("duality gap")
    assert steps[0.5] < steps[0.0]
    assert objectives[0.5] == pytest.approx(objectives[0.0], rel=2e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conjugate_gradients_stay_at_the_minimum_that_they_start_from(dtype: torch.dtype) -> None:
    """With the usual step quotient, spoilt directions grew without end: ADMM left its own limit in bursts."""
    from imagereg.physics import blur, gaussian_kernel
    from imagereg.priors.base import IdentityMap
    from imagereg.solvers.linear import advance, begin, data_block, penalty_block, solve

    physics = blur(gaussian_kernel(1.0), dtype=dtype)
    truth = torch.rand(2, 1, 40, 40, dtype=dtype, generator=torch.Generator().manual_seed(0))
    problem = Problem(LeastSquares(physics.A(truth)), physics)
    blocks = [data_block(problem), penalty_block(IdentityMap(), 1.5, 0.9 * truth)]
    best = solve(blocks, torch.zeros_like(truth), iterations=200, tolerance=0.0)["image"]
    memory = begin(blocks, best)
    for _ in range(300):
        memory = advance(blocks, memory)
    # A gradient of rounding moves the image by rounding over the least curvature, 1.5.
    room = 100 * torch.finfo(dtype).eps * float(best.norm())
    assert float((memory["image"] - best).norm()) < room
    again = solve(blocks, best, iterations=300, tolerance=1e-8)
    assert float((again["image"] - best).norm()) < room
