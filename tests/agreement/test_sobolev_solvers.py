"""Sobolev data terms: Fourier ADMM, PDHG, FISTA, closed forms and CVXPY find the same minimum."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import torch

from imagereg.fidelities.frequencies import FrequencyGrid
from imagereg.fidelities.sobolev import Sobolev
from imagereg.geometry import ParallelBeam, Volume
from imagereg.physics import blur, gaussian_kernel, identity, motion_kernel, tomography
from imagereg.priors.gradient import Gradient
from imagereg.priors.periodic import PeriodicGradient, PeriodicTV
from imagereg.priors.quadratic import Quadratic
from imagereg.priors.tv import TV
from imagereg.solvers.base import iterate
from imagereg.solvers.fista import FISTA
from imagereg.solvers.fourier_admm import FourierADMM, tikhonov
from imagereg.solvers.gradient_descent import GradientDescent, SobolevDiscrepancy
from imagereg.solvers.pdhg import PDHG
from imagereg.solvers.problem import Problem, Refusal

SHAPE = (12, 10)


def data(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 1, *SHAPE), dtype=torch.float64, generator=generator).cumsum(-1)


def dense(linear: Any) -> np.ndarray:
    """The matrix of a map of images of SHAPE."""
    size = SHAPE[0] * SHAPE[1]
    eye = torch.eye(size, dtype=torch.float64).reshape(size, 1, *SHAPE)
    return linear(eye).reshape(size, -1).T.numpy()


def physics_of(name: str, border: str) -> Any:
    if name == "identity":
        return identity()
    return blur(gaussian_kernel(1.0), border=border, dtype=torch.float64)


def minimum(problem: Problem, prior: Any) -> tuple[float, np.ndarray]:
    """CVXPY's minimum of 1/2 ||P_s (A x - y)||² + 0.3 TV."""
    fidelity: Any = problem.fidelity
    size = SHAPE[0] * SHAPE[1]
    whiten = dense(
        lambda x: Sobolev(x, fidelity.s, scale=fidelity.scale, boundary=fidelity.grid.boundary).whiten(x)
    )
    A, K = dense(problem.physics.A), dense(prior.operator.A)
    x = cp.Variable(size)
    steps = K @ x
    lengths = cp.norm(cp.vstack([steps[:size], steps[size:]]), 2, axis=0)
    misfit = whiten @ (A @ x - fidelity.data.flatten().numpy())
    reference = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(misfit) + 0.3 * cp.sum(lengths)))
    reference.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    return reference.value, x.value.reshape(SHAPE)


@pytest.mark.parametrize("s", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("name", ["identity", "blur"])
@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_fourier_admm_agrees_with_cvxpy(name: str, boundary: str, s: float) -> None:
    fidelity = Sobolev(data(), s, scale=2.0, boundary=boundary)  # type: ignore[arg-type]
    prior: Any = TV(0.3) if boundary == "neumann" else PeriodicTV(0.3)
    border = "symmetric" if boundary == "neumann" else "periodic"
    problem = Problem(fidelity, physics_of(name, border), (prior,))
    value, _ = minimum(problem, prior)
    *_, last = iterate(FourierADMM(rho=2.0), problem, total=700)
    assert last.objective == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("s", [-1.0, 1.0])
def test_pdhg_agrees_where_fourier_does_not_fit(s: float) -> None:
    kernel = motion_kernel(5.0, 0.5)
    physics = blur(kernel, border="reflect", dtype=torch.float64)
    fidelity = Sobolev(data(), s, scale=2.0, boundary="neumann")
    problem = Problem(fidelity, physics, (TV(0.3),))
    with pytest.raises(Refusal, match="Blur is no convolution"):
        next(iterate(FourierADMM(), problem, total=1))
    value, _ = minimum(problem, problem.priors[0])
    *_, last = iterate(PDHG(), problem, total=1500)
    assert last.objective == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_the_closed_form_of_tikhonov_is_stationary_and_fista_finds_it(boundary: str) -> None:
    physics = physics_of("blur", "symmetric" if boundary == "neumann" else "periodic")
    gradient: Any = Gradient() if boundary == "neumann" else PeriodicGradient()
    fidelity = Sobolev(data(), 0.7, scale=2.0, boundary=boundary)  # type: ignore[arg-type]
    problem = Problem(fidelity, physics, (Quadratic(0.4, operator=gradient),))
    x = tikhonov(problem, 0.4)
    slope = physics.A_adjoint(fidelity.grad(physics.A(x))) + problem.priors[0].grad(x)
    assert float(slope.abs().max()) < 1e-11
    *_, last = iterate(FISTA(), problem, total=800)
    torch.testing.assert_close(last.image, x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("s", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("name", ["identity", "blur"])
def test_the_order_of_the_noise_is_the_best_of_a_sweep(one_thread: None, name: str, s: float) -> None:
    """Fields and noise of the Gaussian laws that penalty and data term stand for: Bayes' own estimate."""
    white = torch.randn((2, 12, 1, 48, 48), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    grid, gradient = FrequencyGrid(white.shape[1:], (-2, -1), "neumann"), Gradient()
    k = grid.symbol_of(lambda x: gradient.A_adjoint(gradient.A(x)), white[0])
    assert k is not None
    seen = k.real > 1e-9
    truth = grid.multiply(white[0], torch.where(seen, torch.where(seen, k.real, 1.0) ** -0.5, 0.0))
    half, _ = grid.symbol(lambda q: (1 + 100 * q) ** (-s / 2), white[1])
    noise = grid.multiply(white[1], half)
    physics = physics_of(name, "symmetric")
    y = physics.A(truth) + (0.5 if name == "identity" else 0.1) * noise / noise.std()

    def error(order: float, strength: float) -> float:
        fidelity = Sobolev(y, order, scale=10.0, boundary="neumann")
        problem = Problem(fidelity, physics, (Quadratic(strength, operator=gradient),))
        return float((tikhonov(problem, strength) - truth).square().mean())

    orders = (-1.0, -0.5, 0.0, 0.5, 1.0)
    best = {o: min(error(o, float(t)) for t in np.logspace(-3.5, 0.5, 25)) for o in orders}
    assert min(best, key=lambda o: best[o]) == s


def test_gradient_descent_damps_each_frequency_as_predicted() -> None:
    fidelity = Sobolev(data(), 1.0, scale=2.0)
    problem = Problem(fidelity, identity())
    *_, last = iterate(GradientDescent(), problem, total=7)
    tau = 1 / (problem.norm**2 * fidelity.lipschitz)
    expected = fidelity.grid.multiply(fidelity.data, 1 - (1 - tau * fidelity.weight) ** 7)
    torch.testing.assert_close(last.image, expected, rtol=1e-10, atol=1e-10)


def test_early_stopping_happens_at_the_level_of_the_noise() -> None:
    y = data(1)
    problem = Problem(Sobolev(y, -0.5, scale=2.0), identity())
    *_, last = iterate(GradientDescent(), problem, total=500, stop=SobolevDiscrepancy(0.2))
    fidelity: Any = problem.fidelity
    level = 1.02**2 * y.numel() * fidelity.expected(0.2)
    assert "at the noise" in last.finished
    assert float(fidelity.norm_squared(last.image - y)) <= level


@pytest.mark.parametrize("s", [0.0, 0.5])
def test_tomography_with_weights_along_the_detector(s: float) -> None:
    geometry = ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), 32, pixel=1.0)
    physics = tomography(geometry, Volume((24, 24), 1.0), dtype=torch.float64)
    x = torch.zeros(1, 1, 24, 24, dtype=torch.float64)
    x[..., 6:15, 8:18] = 1.0
    y = physics.A(x)
    y = y + 0.2 * torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    problem = Problem(
        Sobolev(y, s, scale=3.0, axes=(-1,), boundary="neumann"), physics, (TV(0.5),), (0.0, None)
    )
    *_, pdhg = iterate(PDHG(), problem, total=800)
    *_, fista = iterate(FISTA(), problem, total=150)
    assert pdhg.gap is not None and pdhg.gap < 1e-3
    assert fista.objective == pytest.approx(pdhg.objective, rel=2e-3)
