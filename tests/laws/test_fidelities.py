"""Laws of every data term: gradient, prox, conjugate, curvature. One line in `FIDELITIES` adds one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Fidelity
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.fidelities.poisson import KullbackLeibler, TransmissionPoisson
from imagereg.fidelities.sobolev import Sobolev

SHAPE = (3, 1, 6, 5)


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def counts(seed: int, mean: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full(SHAPE, mean, dtype=torch.float64), generator=generator)


FIDELITIES: dict[str, Callable[[], Fidelity]] = {
    "least squares": lambda: LeastSquares(noise(0)),
    "weighted": lambda: LeastSquares(noise(0), noise(1).square() + 0.1),
    "kullback-leibler": lambda: KullbackLeibler(counts(2, 3.0), background=0.5, strength=0.7),
    "kullback-leibler without background": lambda: KullbackLeibler(counts(2, 3.0)),
    "transmission": lambda: TransmissionPoisson(counts(3, 20.0), blank=50.0, strength=0.3),
    "transmission, a blank each": lambda: TransmissionPoisson(counts(3, 2.0), blank=5 + noise(4).abs()),
    "sobolev": lambda: Sobolev(noise(0), -0.5, scale=1.0),
}

fidelities = pytest.mark.parametrize("make", FIDELITIES.values(), ids=FIDELITIES.keys())
steps = pytest.mark.parametrize("gamma", [1e-2, 0.8, 60.0])


def inside(seed: int) -> torch.Tensor:
    """A point in the domain of every data term."""
    return noise(seed).abs() + 0.2


@fidelities
def test_gradient_is_that_of_the_value(make: Callable[[], Fidelity]) -> None:
    f, u, d, h = make(), inside(5), noise(6), 1e-6
    slope = (f.fn(u + h * d) - f.fn(u - h * d)) / (2 * h)
    torch.testing.assert_close((f.grad(u) * d).flatten(1).sum(1), slope, rtol=1e-6, atol=1e-6)
    assert f.fn(u).shape == (3,)


@fidelities
def test_curvature_is_that_of_the_gradient(make: Callable[[], Fidelity]) -> None:
    f, u, d, h = make(), inside(5), noise(6), 1e-5
    bend = ((f.grad(u + h * d) - f.grad(u - h * d)) * d).flatten(1).sum(1) / (2 * h)
    torch.testing.assert_close(f.curvature(u, d), bend, rtol=1e-5, atol=1e-5)
    if math.isfinite(f.lipschitz):
        assert bool((f.curvature(u, d) <= (1 + 1e-9) * f.lipschitz * d.square().flatten(1).sum(1)).all())


@fidelities
@steps
def test_prox_minimises(make: Callable[[], Fidelity], gamma: float) -> None:
    """(u - p) / gamma is a subgradient at p: f(w) >= f(p) + <(u - p) / gamma, w - p> for every w."""
    f, u = make(), 3 * noise(7)
    p = f.prox(u, gamma)
    assert bool(torch.isfinite(f.fn(p)).all())
    for w in (inside(8), p + 1e-3 * noise(9).abs(), p + 1e-3 * noise(10), 5 * inside(11)):
        below = f.fn(p) + ((u - p) / gamma * (w - p)).flatten(1).sum(1)
        # An infinite value outside the domain satisfies the law by itself.
        assert bool((f.fn(w) >= below - 1e-8 * (1 + f.fn(p).abs())).all())


@fidelities
@steps
def test_prox_is_firmly_non_expansive(make: Callable[[], Fidelity], gamma: float) -> None:
    f, a, b = make(), 3 * noise(12), 3 * noise(13)
    d = f.prox(a, gamma) - f.prox(b, gamma)
    assert bool(((d * d).flatten(1).sum(1) <= (d * (a - b)).flatten(1).sum(1) + 1e-9).all())


@fidelities
@steps
def test_moreau(make: Callable[[], Fidelity], gamma: float) -> None:
    f, u = make(), 2 * noise(14)
    torch.testing.assert_close(
        f.prox(u, gamma) + gamma * f.prox_conjugate(u / gamma, 1 / gamma), u, rtol=1e-8, atol=1e-8
    )


@fidelities
def test_fenchel_young(make: Callable[[], Fidelity]) -> None:
    f, u = make(), inside(15)
    v = f.grad(u)
    torch.testing.assert_close(f.fn(u) + f.conjugate(v), (u * v).flatten(1).sum(1), rtol=1e-8, atol=1e-8)
    other = f.grad(inside(16))
    assert bool((f.fn(u) + f.conjugate(other) >= (u * other).flatten(1).sum(1) - 1e-9).all())


@fidelities
def test_steps_may_differ_between_items(make: Callable[[], Fidelity]) -> None:
    f, u = make(), noise(17)
    gamma = torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64).reshape(3, 1, 1, 1)
    together = f.prox(u, gamma)
    for item, step in enumerate((0.1, 1.0, 7.0)):
        torch.testing.assert_close(together[item], f.prox(u, step)[item], rtol=1e-10, atol=1e-10)


@fidelities
def test_the_estimate_explains_the_data_best(make: Callable[[], Fidelity]) -> None:
    f = make()
    best = f.fn(f.estimate)
    for seed in (18, 19):
        assert bool((f.fn(f.estimate.clamp_min(0.01) + 0.3 * noise(seed).abs()) >= best - 1e-9).all())


def test_an_empty_weight_leaves_its_datum_out() -> None:
    y, w = noise(0), torch.ones(SHAPE, dtype=torch.float64)
    w[:, :, 2] = 0
    f = LeastSquares(y, w)
    moved = y.clone()
    moved[:, :, 2] += 100
    assert bool((f.fn(moved) == 0).all())
    assert bool(torch.isinf(f.conjugate(torch.ones_like(y))).all())
    assert bool(torch.isfinite(f.conjugate(w)).all())


def test_prox_of_the_transmission_likelihood_in_single_precision_and_far_out() -> None:
    n = torch.tensor([0.0, 1.0, 1e4, 1e6]).reshape(1, 1, 1, 4)
    f = TransmissionPoisson(n, blank=1e6)
    for gamma in (1e-8, 1e-3, 1e2):
        p = f.prox(torch.full_like(n, 3.0), gamma)
        slope = p - 3.0 + gamma * f.grad(p)
        size = 3.0 + gamma * (n + f.blank * torch.exp(-p)) + p.abs()
        assert bool(torch.isfinite(p).all())
        assert float((slope.abs() / size).max()) < 1e-5


def test_bad_data_are_refused() -> None:
    with pytest.raises(UsageError, match="weights of shape"):
        LeastSquares(noise(0), torch.ones(2, 2))
    with pytest.raises(UsageError, match="negative"):
        LeastSquares(noise(0), -torch.ones(SHAPE))
    with pytest.raises(UsageError, match="counts"):
        KullbackLeibler(noise(0))
    with pytest.raises(UsageError, match="I0"):
        TransmissionPoisson(counts(0, 1.0), blank=0.0)
