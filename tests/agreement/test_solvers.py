"""Every capable solver on every small convex problem against a reference minimiser and other codes."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.fidelities.poisson import KullbackLeibler, TransmissionPoisson
from imagereg.priors.base import Prior
from imagereg.priors.gradient import Gradient
from imagereg.priors.quadratic import Quadratic
from imagereg.priors.tv import TV
from imagereg.priors.wavelet import Wavelet
from imagereg.solvers.admm import ADMM
from imagereg.solvers.base import iterate
from imagereg.solvers.cgls import CGLS
from imagereg.solvers.fista import FISTA
from imagereg.solvers.pdhg import PDHG
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import State
from imagereg.solvers.stopping import DualityGap, RelativeChange

pytestmark = pytest.mark.usefixtures("one_thread")


SIDE = 8
N = SIDE * SIDE


def final(states: Iterator[State]) -> State:
    """The last state, without keeping the others."""
    return deque(states, maxlen=1).pop()


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene() -> torch.Tensor:
    image = torch.full((1, 1, SIDE, SIDE), 0.1, dtype=torch.float64)
    image[..., 2:6, 1:5] = 1.0
    image[..., 4:, 5:] = 0.5
    return image


def dense(matrix: torch.Tensor) -> Any:
    """A matrix as a deepinv physics on images of SIDE x SIDE pixels."""
    import deepinv

    return deepinv.physics.LinearPhysics(
        A=lambda x, **_: (x.flatten(1) @ matrix.mT)[:, None, None],
        A_adjoint=lambda y, **_: (y.flatten(1) @ matrix).reshape(-1, 1, SIDE, SIDE),
    )


def matrix_of(physics: Any) -> np.ndarray:
    units = torch.eye(N, dtype=torch.float64).reshape(N, 1, SIDE, SIDE)
    return physics.A(units).flatten(1).mT.numpy()


def differences() -> tuple[np.ndarray, np.ndarray]:
    units = torch.eye(N, dtype=torch.float64).reshape(N, 1, SIDE, SIDE)
    field = Gradient().A(units)[:, 0]
    return field[:, 0].flatten(1).mT.numpy(), field[:, 1].flatten(1).mT.numpy()


MIXED = noise(1, 40, N) / N**0.5
POSITIVE = noise(2, 50, N).abs() / N
DATA = (MIXED @ scene().flatten()) + 0.02 * noise(3, 40)
PHOTONS = torch.poisson(200 * POSITIVE @ scene().flatten(), generator=torch.Generator().manual_seed(4))
THROUGH = torch.poisson(
    100 * torch.exp(-2 * POSITIVE @ scene().flatten()), generator=torch.Generator().manual_seed(5)
)


def row(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(1, 1, 1, -1)


def on_mixed(prior: Prior | None, *bounds: float | None, weights: torch.Tensor | None = None) -> Problem:
    fidelity = LeastSquares(row(DATA), None if weights is None else row(weights))
    return Problem(fidelity, dense(MIXED), () if prior is None else (prior,), bounds or (None, None))


def tv(strength: float, **options: Any) -> TV:
    return TV(strength, accuracy=1e-12, iterations=2000, **options)


WEIGHTS = noise(6, 40).square() + 0.1
EDGES = noise(7, SIDE, SIDE).abs() * (noise(8, SIDE, SIDE) > -0.8)

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "tv": lambda: on_mixed(tv(0.02)),
    "tv, anisotropic, x >= 0": lambda: on_mixed(tv(0.02, isotropic=False), 0.0, None),
    "tv, in a box": lambda: on_mixed(tv(0.01), 0.2, 0.8),
    "tv, weights of data and of pixels": lambda: on_mixed(tv(0.03, weight=EDGES), weights=WEIGHTS),
    "tikhonov": lambda: on_mixed(Quadratic(0.05, operator=Gradient())),
    "tikhonov, weighted": lambda: on_mixed(Quadratic(0.05), weights=WEIGHTS),
    "tikhonov, x >= 0.15": lambda: on_mixed(Quadratic(0.05, operator=Gradient()), 0.15, None),
    "wavelet": lambda: on_mixed(Wavelet(0.02, wavelet="haar", levels=2)),
    "photons, tv, x >= 0": lambda: Problem(
        KullbackLeibler(row(PHOTONS), background=0.5), dense(200 * POSITIVE), (tv(2.0),), (0.0, None)
    ),
    "transmission, tv, x >= 0": lambda: Problem(
        TransmissionPoisson(row(THROUGH), blank=100.0), dense(2 * POSITIVE), (tv(0.5),), (0.0, None)
    ),
}

SOLVERS: dict[str, Any] = {"cgls": CGLS(), "fista": FISTA(inner=60), "pdhg": PDHG(), "admm": ADMM()}
REFUSED = {
    *(("cgls", name) for name in PROBLEMS if not name.startswith("tikhonov")),
    ("cgls", "tikhonov, x >= 0.15"),
}


@cache
def reference(name: str) -> float:
    """The least objective, by an interior-point method."""
    import cvxpy as cp

    problem = PROBLEMS[name]()
    fidelity = problem.fidelity
    A, y = matrix_of(problem.physics), fidelity.data.flatten().numpy()
    x = cp.Variable(N)
    u = A @ x
    if isinstance(fidelity, LeastSquares):
        w = np.ones_like(y) if fidelity.weights is None else fidelity.weights.flatten().numpy()
        value = 0.5 * cp.sum_squares(cp.multiply(np.sqrt(w), u - y))
    elif isinstance(fidelity, KullbackLeibler):
        value = cp.sum(cp.kl_div(y, u + 0.5))
    else:
        rest = y - np.where(y > 0, y * np.log(np.maximum(y, 1) / 100), 0)
        value = cp.sum(100 * cp.exp(-u) + cp.multiply(y, u)) - rest.sum()
    across, along = differences()
    for prior in problem.priors:
        strength = float(prior.outer.strength)
        if isinstance(prior, TV):
            weight = np.ones(N) if prior.outer.weight is None else prior.outer.weight.flatten().numpy()
            pair = cp.vstack([across @ x, along @ x])
            length = cp.norm(pair, 2 if prior.isotropic else 1, axis=0)
            value += strength * cp.sum(cp.multiply(weight, length))
        elif isinstance(prior, Quadratic):
            stack = np.eye(N) if prior.operator.isometry else np.vstack([across, along])
            value += strength / 2 * cp.sum_squares(stack @ x)
        else:
            units = torch.eye(N, dtype=torch.float64).reshape(N, 1, SIDE, SIDE)
            W = prior.operator.A(units).flatten(1).mT.numpy()
            mask = prior.operator.details(units).flatten().numpy()
            value += strength * cp.sum(cp.abs(cp.multiply(mask, W @ x)))
    low, high = problem.bounds
    limits = [x >= low] if low is not None else []
    limits += [x <= high] if high is not None else []
    cp.Problem(cp.Minimize(value), limits).solve(solver=cp.CLARABEL)
    image = torch.from_numpy(np.asarray(x.value)).reshape(1, 1, SIDE, SIDE)
    found = problem.objective(problem.project(image))
    assert found is not None
    return found


def last(solver: Any, problem: Problem, *, total: int, stop: Any = None) -> State:
    state = final(iterate(solver, problem, total=total, stop=stop))
    assert state is not None
    return state


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_finds_the_least_objective(solver: str, name: str) -> None:
    problem = PROBLEMS[name]()
    if (solver, name) in REFUSED:
        with pytest.raises(Refusal, match="use"):
            SOLVERS[solver].check(problem)
        return
    stop = DualityGap(1e-7, every=50) if solver == "pdhg" else RelativeChange(1e-7)
    state = last(SOLVERS[solver], problem, total=1500, stop=stop)
    least = reference(name)
    assert state.objective == pytest.approx(least, rel=1e-4, abs=1e-6)
    assert state.objective >= least * (1 - 1e-5) - 1e-7
    low, high = problem.bounds
    assert low is None or float(state.image.min()) >= low
    assert high is None or float(state.image.max()) <= high


def test_the_gap_bounds_the_distance_to_the_least_objective() -> None:
    """The reported gap is honest at every state, with and without bounds, and it closes."""
    for name in ("tv", "tv, in a box", "tikhonov", "photons, tv, x >= 0", "transmission, tv, x >= 0"):
        problem, least = PROBLEMS[name](), reference(name)
        gaps = []
        for state in iterate(PDHG(), problem, total=1500):
            if state.iteration % 25 == 0:
                assert state.gap is not None and state.objective is not None
                size = 1 + abs(state.objective)
                assert state.gap >= (state.objective - least) / size - 1e-6
                gaps.append(state.gap)
        assert gaps[-1] < 1e-4, name


SCAN = ir.ParallelBeam(np.linspace(0, np.pi, 12, endpoint=False), columns=24, pixel=0.5)


@cache
def scan_problem(dtype: torch.dtype = torch.float64) -> tuple[Any, torch.Tensor]:
    physics = ir.tomography(SCAN, ir.Volume((16, 16), voxel=0.5), dtype=dtype)
    truth = torch.zeros(1, 1, 16, 16, dtype=dtype)
    truth[..., 4:12, 3:10] = 0.8
    truth[..., 6:9, 8:14] += 0.4
    y = physics.A(truth)
    return physics, y + 0.02 * y.norm() / y.numel() ** 0.5 * noise(9, *y.shape).to(dtype)


@pytest.mark.parametrize("bounds", [(None, None), (0.0, None)])
def test_tv_of_a_scan_by_three_solvers_and_cvxpy(bounds: tuple[float | None, float | None]) -> None:
    import cvxpy as cp

    physics, y = scan_problem()
    strength = 0.05
    problem = Problem(LeastSquares(y), physics, (TV(strength, accuracy=1e-12),), bounds)
    units = torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
    A = physics.A(units).flatten(1).mT.numpy()
    field = Gradient().A(units)[:, 0]
    across, along = field[:, 0].flatten(1).mT.numpy(), field[:, 1].flatten(1).mT.numpy()
    x = cp.Variable(256)
    pair = cp.vstack([across @ x, along @ x])
    value = 0.5 * cp.sum_squares(A @ x - y.flatten().numpy()) + strength * cp.sum(cp.norm(pair, 2, axis=0))
    cp.Problem(cp.Minimize(value), [x >= 0] if bounds[0] == 0 else []).solve(solver=cp.CLARABEL)
    for solver, stop in (
        (PDHG(), DualityGap(1e-6)),
        (FISTA(inner=40), RelativeChange(1e-7)),
        (ADMM(), RelativeChange(1e-7)),
    ):
        state = last(solver, problem, total=800, stop=stop)
        assert state.objective == pytest.approx(value.value, rel=1e-4), type(solver).__name__


def test_tv_denoising_equals_scikit_image() -> None:
    import deepinv
    from skimage.restoration import denoise_tv_chambolle

    picture = np.zeros((24, 20))
    picture[5:15, 4:12] = 1.0
    picture += 0.1 * np.random.default_rng(0).standard_normal(picture.shape)
    expected = denoise_tv_chambolle(picture, weight=0.15, eps=1e-12, max_num_iter=20000)
    y = torch.from_numpy(picture)[None, None]
    problem = Problem(LeastSquares(y), deepinv.physics.Denoising(), (TV(0.15, accuracy=1e-10),))
    for solver, stop in (
        (PDHG(), DualityGap(1e-8)),
        (FISTA(inner=200), RelativeChange(1e-8)),
        (ADMM(inner=40, tolerance=1e-3), RelativeChange(1e-7)),
    ):
        found = last(solver, problem, total=3000, stop=stop).image[0, 0].numpy()
        assert np.abs(found - expected).max() < 2e-4, type(solver).__name__


def test_cgls_equals_lstsq() -> None:
    matrix, y = noise(10, 90, N), noise(11, 90)
    problem = Problem(LeastSquares(row(y)), dense(matrix))
    found = last(CGLS(), problem, total=300).image.flatten().numpy()
    expected = np.linalg.lstsq(matrix.numpy(), y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_sirt_reaches_the_weighted_least_squares_solution() -> None:
    from imagereg.solvers.sirt import SIRT

    matrix, y = noise(12, 150, N).abs(), noise(13, 150).abs()
    state = last(SIRT(relaxation=1.9), Problem(LeastSquares(row(y)), dense(matrix)), total=20_000)
    R = 1 / matrix.sum(1).numpy()
    scaled = np.sqrt(R)[:, None] * matrix.numpy()
    expected = np.linalg.lstsq(scaled, np.sqrt(R) * y.numpy(), rcond=None)[0]
    misfit = np.linalg.norm(scaled @ state.image.flatten().numpy() - np.sqrt(R) * y.numpy())
    least = np.linalg.norm(scaled @ expected - np.sqrt(R) * y.numpy())
    assert misfit == pytest.approx(least, rel=1e-4)


def deepinv_physics() -> dict[str, tuple[Any, tuple[int, ...]]]:
    import deepinv

    kernel = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0]))[None, None] / 16
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(1, 1, 16, 16, generator=generator) > 0.4).float()
    lines = torch.zeros(1, 2, 16, 16)
    lines[..., ::2, :] = 1
    return {
        "MRI": (deepinv.physics.MRI(mask=lines, img_size=(2, 16, 16)), (2, 2, 16, 16)),
        "CompressedSensing": (
            deepinv.physics.CompressedSensing(m=120, img_size=(1, 16, 16), rng=generator),
            (2, 1, 16, 16),
        ),
        "BlurFFT": (deepinv.physics.BlurFFT(img_size=(1, 16, 16), filter=kernel), (2, 1, 16, 16)),
        "Inpainting": (deepinv.physics.Inpainting(img_size=(1, 16, 16), mask=mask), (2, 1, 16, 16)),
    }


@pytest.mark.parametrize("name", ["MRI", "CompressedSensing", "BlurFFT", "Inpainting"])
def test_solvers_run_on_deepinv_physics(name: str) -> None:
    physics, shape = deepinv_physics()[name]
    truth = torch.zeros(shape)
    truth[..., 4:12, 3:9] = 1.0
    y = physics.A(truth)
    y = y + 0.01 * noise(14, *y.shape).to(y)
    strength = 0.02
    # Least squares with a quadratic prior: the gradient vanishes at the solution.
    problem = Problem(LeastSquares(y), physics, (Quadratic(0.1),))
    x = last(CGLS(), problem, total=200).image
    slope = physics.A_adjoint(physics.A(x) - y) + 0.1 * x
    assert float(slope.norm() / physics.A_adjoint(y).norm()) < 1e-4
    # Total variation: three solvers, one objective.
    problem = Problem(LeastSquares(y), physics, (TV(strength, accuracy=1e-7, iterations=1000),))
    values = {}
    for solver, stop in (
        (PDHG(), DualityGap(1e-5)),
        (FISTA(inner=100), RelativeChange(1e-6)),
        (ADMM(inner=30, tolerance=1e-2), RelativeChange(1e-5)),
    ):
        values[type(solver).__name__] = last(solver, problem, total=2000, stop=stop).objective
    assert max(values.values()) <= min(values.values()) * (1 + 5e-4) + 1e-5, values
    # Sparsity in an orthonormal basis, where ADMM has a closed form if the physics is diagonalised.
    problem = Problem(LeastSquares(y), physics, (Wavelet(strength, wavelet="haar", levels=2),))
    values = {
        "FISTA": last(FISTA(), problem, total=2000, stop=RelativeChange(1e-6)).objective,
        "ADMM": last(
            ADMM(inner=30, tolerance=1e-2), problem, total=2000, stop=RelativeChange(1e-6)
        ).objective,
    }
    assert max(values.values()) <= min(values.values()) * (1 + 5e-4) + 1e-5, values


def test_items_do_not_see_each_other() -> None:
    physics, y = scan_problem()
    # Few steps: later, rounding grows in conjugate gradients and may decide when a momentum restarts.
    both = torch.cat([y, 3 * y.flip(-1)])
    for solver in (PDHG(), FISTA(), ADMM(), CGLS()):
        prior: Prior = Quadratic(0.1) if isinstance(solver, CGLS) else TV(0.05)
        together = last(solver, Problem(LeastSquares(both), physics, (prior,)), total=8)
        for item in range(2):
            alone = last(solver, Problem(LeastSquares(both[item : item + 1]), physics, (prior,)), total=8)
            torch.testing.assert_close(
                together.image[item], alone.image[0], rtol=1e-6, atol=1e-7, msg=type(solver).__name__
            )


@pytest.mark.parametrize("relaxation", [1.0, 1.5])
def test_the_relaxation_of_pdhg_does_not_move_the_minimum(relaxation: float) -> None:
    problem = PROBLEMS["tv"]()
    solver = dataclasses.replace(PDHG(), relaxation=relaxation)
    state = last(solver, problem, total=4000, stop=DualityGap(1e-7, every=50))
    assert state.objective == pytest.approx(reference("tv"), rel=1e-4)
