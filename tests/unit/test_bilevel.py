"""Bilevel learning: the certificate, descent, and where MAID and HOAG land on problems with known answers."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from imagereg.choose.bilevel import LowerLevel, MeanSquaredError, UpperLevel
from imagereg.choose.field_of_experts import FieldOfExperts
from imagereg.choose.hoag import HOAG
from imagereg.choose.hypergradient import Linearisation, hypergradient, solve_lower
from imagereg.choose.maid import MAID
from imagereg.choose.smoothed_tv import SmoothedSpaceVariantTV, SmoothedTV
from imagereg.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")


def uniform(*shape: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


class Quadratic(LowerLevel):
    """h = 1/2 ||A2 x + A3 t - b2||^2, g = 1/2 ||A1 x - b1||^2, everything in closed form."""

    def __init__(self, seed: int, rows: int = 60, size: int = 6, shift: float = 0.25) -> None:
        self.A1, self.A2, self.A3 = (uniform(rows, size, seed=3 * seed + k) - shift for k in range(3))
        self.b1, self.b2 = (uniform(rows, seed=1000 + 2 * seed + k) for k in range(2))
        self.data = torch.zeros(size, dtype=torch.float64)
        self.H = self.A2.T @ self.A2
        self.J = self.A2.T @ self.A3
        eigenvalues = torch.linalg.eigvalsh(self.H)
        self.convexity, self._smooth = float(eigenvalues[0]), float(eigenvalues[-1])

    def energy(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return 0.5 * (self.A2 @ x + self.A3 @ theta - self.b2).square().sum()

    def gradient(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return self.H @ x + self.J @ theta - self.A2.T @ self.b2

    def smoothness(self, theta: torch.Tensor) -> float:
        return self._smooth

    def lipschitz(self, x: torch.Tensor, theta: torch.Tensor) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, 0.0

    def solution(self, theta: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(self.H, self.A2.T @ (self.b2 - self.A3 @ theta))

    def objective(self, theta: torch.Tensor) -> float:
        return Upper(self).value(self.solution(theta))

    def exact_gradient(self, theta: torch.Tensor) -> torch.Tensor:
        return -self.J.T @ torch.linalg.solve(self.H, Upper(self).gradient(self.solution(theta)))

    def least(self) -> float:
        slope = -self.A1 @ torch.linalg.solve(self.H, self.J)
        offset = self.A1 @ torch.linalg.solve(self.H, self.A2.T @ self.b2) - self.b1
        return self.objective(torch.linalg.lstsq(slope, -offset).solution)


class Upper(UpperLevel):
    def __init__(self, of: Quadratic) -> None:
        self.of = of
        self.lipschitz = float(torch.linalg.eigvalsh(of.A1.T @ of.A1)[-1])

    def value(self, x: torch.Tensor) -> float:
        return float(0.5 * (self.of.A1 @ x - self.of.b1).square().sum())

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        return self.of.A1.T @ (self.of.A1 @ x - self.of.b1)


def pictures(n: int = 2, size: int = 16, sigma: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks and a ramp, and the same with noise."""
    t = torch.linspace(0, 1, size, dtype=torch.float64)
    clean = torch.stack(
        [((t[:, None] - 0.5).abs() < 0.15 * (k + 1)) * 0.7 + 0.3 * t[None, :] for k in range(n)]
    )
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(clean.shape))
    return clean[:, None], (clean + sigma * noise)[:, None]


# ------------------------------------------------------------------ the certificate
def test_the_bound_holds_on_random_quadratics() -> None:
    """Over 200 draws of problem, theta, start and accuracies, ||z - grad f|| <= omega."""
    random = np.random.default_rng(0)
    ratios = []
    for draw in range(200):
        problem = Quadratic(draw)
        theta = torch.from_numpy(random.standard_normal(6))
        accuracy, residual = 10.0 ** random.uniform(-6, 0, 2)
        found = hypergradient(
            problem,
            Upper(problem),
            theta,
            start=torch.from_numpy(random.standard_normal(6)),
            accuracy=accuracy,
            residual=residual,
        )
        assert found.error <= accuracy
        assert float((found.image - problem.solution(theta)).norm()) <= found.error * (1 + 1e-9)
        assert found.constants.certified
        ratios.append(float((found.direction - problem.exact_gradient(theta)).norm()) / found.bound)
    assert max(ratios) <= 1
    assert max(ratios) > 1e-5, "the bound must not be vacuous"


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("theta", [(-3.0, -3.0), (-2.0, -4.0), (-4.0, -2.0)])
def test_the_bound_holds_for_smoothed_tv(theta: tuple[float, float], isotropic: bool) -> None:
    clean, noisy = pictures()
    lower, upper = SmoothedTV(noisy, isotropic=isotropic), MeanSquaredError(clean)
    at = torch.tensor(theta, dtype=torch.float64)
    exact = hypergradient(lower, upper, at, start=noisy, accuracy=1e-10, residual=1e-10)
    for accuracy in (1.0, 1e-2, 1e-4):
        rough = hypergradient(lower, upper, at, start=noisy, accuracy=accuracy, residual=accuracy)
        assert rough.constants.certified
        assert float((rough.direction - exact.direction).norm()) <= rough.bound


# ------------------------------------------------------------------ derivatives against finite differences
def levels() -> list[tuple[str, LowerLevel, torch.Tensor]]:
    _, noisy = pictures(size=10)
    tv = torch.tensor([-2.5, -3.0], dtype=torch.float64)
    experts = FieldOfExperts(noisy, filters=3, size=3)
    return [
        ("tv", SmoothedTV(noisy), tv),
        ("anisotropic tv", SmoothedTV(noisy, isotropic=False), tv),
        ("one parameter", SmoothedTV(noisy, smoothing=0.05), tv[:1]),
        (
            "space-variant tv",
            SmoothedSpaceVariantTV(noisy, noisy, smoothing=0.05),
            torch.tensor([-2.0, -2.0, 0.3], dtype=torch.float64),
        ),
        ("field of experts", experts, experts.first(strength=-2.0, smoothing=-2.0)),
    ]


@pytest.mark.parametrize(("name", "lower", "theta"), levels(), ids=[level[0] for level in levels()])
def test_hypergradient_equals_finite_differences(name: str, lower: LowerLevel, theta: torch.Tensor) -> None:
    clean, noisy = pictures(size=10)
    upper = MeanSquaredError(clean)
    found = hypergradient(lower, upper, theta, start=noisy, accuracy=1e-10, residual=1e-10)
    direction = torch.from_numpy(np.random.default_rng(2).standard_normal(theta.numel()))
    step = 1e-5

    def f(t: torch.Tensor) -> float:
        return upper.value(solve_lower(lower, t, noisy, accuracy=1e-10).image)

    slope = (f(theta + step * direction) - f(theta - step * direction)) / (2 * step)
    assert slope == pytest.approx(float(found.direction @ direction), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(("name", "lower", "theta"), levels(), ids=[level[0] for level in levels()])
def test_curvature_and_lipschitz_constants_are_bounds(
    name: str, lower: LowerLevel, theta: torch.Tensor
) -> None:
    random = torch.Generator().manual_seed(3)
    x = lower.data + 0.01 * torch.randn(lower.data.shape, generator=random, dtype=torch.float64)
    at = Linearisation(lower, x, theta)
    n = x.numel()
    units = torch.eye(n, dtype=torch.float64).reshape(n, *x.shape)
    hessian = torch.stack([at.hessian(u).flatten() for u in units])
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert lower.convexity <= float(eigenvalues[0]) * (1 + 1e-12)
    assert float(eigenvalues[-1]) <= lower.smoothness(theta)
    jacobian = torch.stack([at.jacobian_transposed(u) for u in units])
    assert at.jacobian_norm() == pytest.approx(float(torch.linalg.matrix_norm(jacobian, 2)), rel=0.02)
    proven = lower.lipschitz(x, theta)
    if proven is None:
        return
    for size in (1e-4, 1e-2):
        shift = torch.randn(x.shape, generator=random, dtype=torch.float64)
        shift *= size / shift.norm()
        other = Linearisation(lower, x + shift, theta)
        change = torch.stack([other.hessian(u).flatten() for u in units]) - hessian
        assert float(torch.linalg.matrix_norm(change, 2)) <= proven[0] * size
        moved = torch.stack([other.jacobian_transposed(u) for u in units]) - jacobian
        assert float(torch.linalg.matrix_norm(moved, 2)) <= proven[1] * size


def test_smoothness_of_filters_holds_for_any_size_of_image() -> None:
    """The bound is on the sphere of frequencies: a long sine image nearly attains it."""
    experts = FieldOfExperts(torch.zeros(1, 1, 40, 40, dtype=torch.float64), filters=2, size=5)
    theta = experts.first(strength=1.0, smoothing=-1.0)
    at = Linearisation(experts, experts.data, theta)
    x = torch.randn(experts.data.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(200):
        x = at.hessian(x / x.norm())
    largest = float(x.norm())
    assert largest <= experts.smoothness(theta) <= 1.35 * largest


# ------------------------------------------------------------------ MAID
def test_maid_decreases_the_exact_objective_at_every_step() -> None:
    problem = Quadratic(5, shift=0.4)
    objectives = [problem.objective(torch.zeros(6, dtype=torch.float64))]
    for state in MAID(step=1e-2, grow_accuracy=1.25).iterate(
        problem, Upper(problem), torch.zeros(6, dtype=torch.float64), total=60
    ):
        objectives.append(problem.objective(state.memory["theta"]))
        assert state.values["lower"] - 1e-12 <= objectives[-1] <= state.values["upper"] + 1e-12
    assert all(b < a for a, b in pairwise(objectives))
    assert objectives[-1] - problem.least() < 0.1 * (objectives[0] - problem.least())


@pytest.mark.parametrize(("start", "accuracy"), [(-5.0, 1e-1), (-1.0, 1e-3), (-5.0, 1e-5)])
def test_maid_lands_where_a_grid_search_does(start: float, accuracy: float) -> None:
    clean, noisy = pictures()
    lower, upper = SmoothedTV(noisy, smoothing=3e-2), MeanSquaredError(clean)
    grid = torch.linspace(-5, -1, 41, dtype=torch.float64)
    values = [upper.value(solve_lower(lower, t[None], noisy, accuracy=1e-3).image) for t in grid]
    best = float(grid[int(np.argmin(values))])
    first = torch.tensor([start], dtype=torch.float64)
    *_, state = MAID(accuracy=accuracy, residual=accuracy).iterate(
        lower, upper, first, total=60, budget=50_000, tolerance=1e-3
    )
    assert float(state.memory["theta"][0]) == pytest.approx(best, abs=0.1)
    assert state.values["objective"] <= min(values) * 1.001
    assert state.finished.startswith("gradient at most")


def test_maid_measures_constants_where_none_are_proven_and_says_so() -> None:
    clean, noisy = pictures()
    experts = FieldOfExperts(noisy, filters=4, size=3)
    values = []
    for state in MAID().iterate(experts, MeanSquaredError(clean), experts.first(seed=0), total=5):
        values.append(state.values["objective"])
        assert state.values["certified"] == 0
        assert state.values["bound"] <= state.values["hypergradient"]
    assert all(b < a for a, b in pairwise(values))


def test_maid_stops_at_its_budget() -> None:
    clean, noisy = pictures()
    states = list(
        MAID().iterate(
            SmoothedTV(noisy), MeanSquaredError(clean), torch.tensor([-5.0, -3.0]).double(), budget=200
        )
    )
    assert states[-1].finished.startswith("200 lower-level")
    assert states[-1].values["work"] < 1000


# ------------------------------------------------------------------ HOAG
@pytest.mark.parametrize("schedule", ["quadratic", "cubic", "exponential"])
def test_hoag_reaches_the_least_value_of_a_quadratic(schedule: str) -> None:
    problem = Quadratic(7, size=4, shift=0.4)
    hoag = HOAG(schedule=schedule)  # type: ignore[arg-type]
    *_, state = hoag.iterate(problem, Upper(problem), torch.zeros(4, dtype=torch.float64), total=400)
    assert problem.objective(state.memory["theta"]) == pytest.approx(problem.least(), rel=1e-5)


def test_hoag_solves_ridge_regression() -> None:
    """One parameter, x(t) = (A^T A + e^t)^-1 A^T b: the same minimum as a scalar search."""
    from scipy.optimize import minimize_scalar

    A = uniform(30, 12, seed=1) - 0.5
    truth = uniform(12, seed=2) - 0.5
    b = A @ truth + 0.3 * torch.from_numpy(np.random.default_rng(3).standard_normal(30))
    test = uniform(30, 12, seed=4) - 0.5

    class Ridge(LowerLevel):
        names = ("log strength",)
        data = torch.zeros(12, dtype=torch.float64)
        convexity = float(torch.linalg.eigvalsh(A.T @ A)[0])

        def energy(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
            return 0.5 * (A @ x - b).square().sum() + 0.5 * theta[0].exp() * x.square().sum()

        def smoothness(self, theta: torch.Tensor) -> float:
            return float(torch.linalg.eigvalsh(A.T @ A)[-1]) + math.exp(theta[0])

    class Prediction(UpperLevel):
        lipschitz = float(torch.linalg.eigvalsh(test.T @ test)[-1])

        def value(self, x: torch.Tensor) -> float:
            return float(0.5 * (test @ (x - truth)).square().sum())

        def gradient(self, x: torch.Tensor) -> torch.Tensor:
            return test.T @ (test @ (x - truth))

    def f(t: float) -> float:
        x = torch.linalg.solve(A.T @ A + math.exp(t) * torch.eye(12, dtype=torch.float64), A.T @ b)
        return Prediction().value(x)

    best = minimize_scalar(f, bounds=(-8, 6), method="bounded", options={"xatol": 1e-8}).x
    *_, state = HOAG().iterate(
        Ridge(), Prediction(), torch.tensor([-3.0]).double(), total=200, tolerance=1e-7
    )
    assert float(state.memory["theta"][0]) == pytest.approx(best, abs=1e-3)


def test_hoag_takes_a_bad_step_back() -> None:
    """A first step far too long is rejected, and the parameters shown never move to it."""
    problem = Quadratic(9, size=4, shift=0.4)
    states = list(
        HOAG(step=1e3).iterate(problem, Upper(problem), torch.zeros(4, dtype=torch.float64), total=60)
    )
    assert [s.values["accepted"] for s in states[:2]] == [1.0, 0.0]
    assert torch.equal(states[1].memory["theta"], states[0].memory["theta"])
    assert states[-1].values["objective"] < states[0].values["objective"]


def test_hoag_keeps_to_its_bounds() -> None:
    problem = Quadratic(9, size=4, shift=0.4)
    hoag = HOAG(bounds=(-0.01, 0.02))
    for state in hoag.iterate(problem, Upper(problem), torch.zeros(4, dtype=torch.float64), total=30):
        theta = state.memory["theta"]
        assert bool(((theta >= -0.01) & (theta <= 0.02)).all())


# ------------------------------------------------------------------ errors
def test_a_hopeless_lower_level_ends_with_a_sentence() -> None:
    _, noisy = pictures()
    lower = SmoothedTV(noisy, smoothing=1e-8)
    with pytest.raises(UsageError, match="condition number"):
        solve_lower(lower, torch.tensor([0.0]).double(), noisy, accuracy=1e-9, most=50)
