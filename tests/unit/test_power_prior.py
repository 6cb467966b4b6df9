"""The smoothed power: value, gradient, majorant and prox against their definitions."""

from __future__ import annotations

import pytest
import torch

from imagereg.errors import UsageError
from imagereg.priors.gradient import Gradient
from imagereg.priors.power import PowerPrior, SmoothedPower

CASES = [(2.0, 1.0), (1.5, 0.3), (1.0, 0.1), (1.0, 1e-3), (0.6, 0.2)]


@pytest.mark.parametrize(("power", "smoothing"), CASES)
def test_value_and_gradient(power: float, smoothing: float) -> None:
    g = SmoothedPower(2.5, power=power, smoothing=smoothing)
    z = torch.randn(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    eps = 1.0 if power == 2 else smoothing
    expected = 2.5 * (((z**2 + eps**2) ** (power / 2) - eps**power) / power).flatten(1).sum(1)
    assert torch.allclose(g.fn(z), expected, rtol=1e-9)
    (slope,) = torch.autograd.grad(expected.sum(), z)
    assert torch.allclose(g.grad(z), slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("power", "smoothing"), CASES)
def test_the_parabola_touches_and_lies_above(power: float, smoothing: float) -> None:
    g = SmoothedPower(1.0, power=power, smoothing=smoothing)
    t = torch.linspace(-2, 2, 401, dtype=torch.float64).reshape(-1, 1, 1, 1)
    for touch in (-1.3, -0.05, 0.0, 0.4):
        u = torch.full((1, 1, 1, 1), touch, dtype=torch.float64)
        bottom, c = g.target(u), g.curvature
        parabola = g.fn(u) + c / 2 * ((t - bottom).square() - (u - bottom).square()).flatten()
        assert bool((parabola >= g.fn(t) - 1e-9).all())


@pytest.mark.parametrize(("power", "smoothing"), [c for c in CASES if c[0] >= 1])
def test_prox_is_where_the_gradient_vanishes(power: float, smoothing: float) -> None:
    g = SmoothedPower(0.7, power=power, smoothing=smoothing)
    z = 3 * torch.randn(1, 1, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = g.prox(z, 0.9)
    assert torch.allclose(w + 0.9 * g.grad(w), z, atol=1e-5)


def test_small_values_keep_their_digits() -> None:
    g = SmoothedPower(1.0, power=1, smoothing=1.0)
    z = torch.full((1, 1, 1, 1), 1e-4)
    assert float(g.fn(z)) == pytest.approx(5e-9, rel=1e-4)


def test_prior_gradient() -> None:
    prior = PowerPrior(Gradient(2), 1.5, power=1, smoothing=0.1)
    x = torch.randn(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(prior.outer.fn(Gradient(2).A(x)).sum(), x)
    assert torch.allclose(prior.grad(x.detach()), slope, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"power": 0.0}, "power"), ({"power": 2.5}, "power"), ({"smoothing": 0.0}, "smoothing")],
)
def test_refusals(given: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=f"{sentence} = "):
        SmoothedPower(1.0, **given)
    with pytest.raises(UsageError, match="strength = "):
        SmoothedPower(-1.0)
