"""Tweedie's formulas against posteriors in closed form; changes of variable; kinds of noise."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from imagereg.errors import UsageError
from imagereg.noise.kind import noise_kind
from imagereg.physics.noise import GammaNoise, GaussianNoise, PoissonNoise
from imagereg.priors.stabilised import SquareRoot, for_noise
from imagereg.priors.tweedie import (
    gamma_mean,
    gaussian_mean,
    poisson_geometric_mean,
    poisson_mean,
    tweedie_mean,
)


def column(values: torch.Tensor) -> torch.Tensor:
    return values.double().reshape(1, 1, -1, 1)


def test_gaussian_noise_on_a_mixture_of_gaussians() -> None:
    sigma, weights = 0.7, torch.tensor([0.3, 0.7]).double()
    means, spreads = torch.tensor([-1.0, 2.0]).double(), torch.tensor([0.5, 1.2]).double()
    y = column(torch.linspace(-5, 6, 101))
    total = spreads**2 + sigma**2
    density = weights * torch.exp(-((y - means) ** 2) / (2 * total)) / total.sqrt()
    share = density / density.sum(-1, keepdim=True)
    score = (share * (means - y) / total).sum(-1, keepdim=True)
    posterior = (share * (means + spreads**2 / total * (y - means))).sum(-1, keepdim=True)
    assert float((gaussian_mean(y, score, sigma) - posterior).abs().max()) < 1e-10


def test_poisson_counts_of_a_gamma_prior() -> None:
    a, b, gain = 2.0, 0.5, 0.05
    z = column(torch.arange(0, 40))
    # x / gain ~ Gamma(a, rate b): the counts are negative binomial, and so is their continuation in z.
    slope = torch.digamma(z + a) - torch.digamma(z + 1) - math.log(1 + b)
    geometric = torch.exp(torch.digamma(z + a)) / (1 + b)
    found = poisson_geometric_mean(gain * z, slope / gain, gain)
    assert float((found / gain - geometric).abs().max()) < 1e-10
    # The published form puts z + 1/2 for exp(digamma(z + 1)), which is close from one count on.
    published = poisson_mean(gain * z, slope / gain, gain) / gain
    assert float((published / geometric - 1)[..., 1:, :].abs().max()) < 0.025
    assert float((published - geometric).abs().max()) < 0.15


def test_speckle_of_an_inverse_gamma_prior() -> None:
    a, b, looks = 3.0, 2.0, 4.0
    y = column(torch.linspace(0.05, 8, 80))
    # p(y) is proportional to y^(k - 1) (b + k y)^-(a + k).
    score = (looks - 1) / y - looks * (a + looks) / (b + looks * y)
    harmonic = (b + looks * y) / (a + looks)  # 1 / E[1/x | y]
    assert float((gamma_mean(y, score, looks) - harmonic).abs().max()) < 1e-10
    x = stats.invgamma(a + looks, scale=b + looks * 1.3)
    direct = 1 / x.expect(lambda value: 1 / value)
    at = column(torch.tensor([1.3], dtype=torch.float64))
    one = (looks - 1) / at - looks * (a + looks) / (b + looks * at)
    assert float(gamma_mean(at, one, looks)) == pytest.approx(direct, abs=1e-8)


def test_the_unified_formula_is_each_of_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    y = 0.2 + torch.rand(1, 1, 8, 8, generator=generator, dtype=torch.float64)
    score = torch.randn(1, 1, 8, 8, generator=generator, dtype=torch.float64)
    assert torch.allclose(tweedie_mean(y, score, 0.0, 0.01), gaussian_mean(y, score, 0.1), atol=1e-12)
    assert torch.allclose(tweedie_mean(y, score, 2.0, 1 / 50), gamma_mean(y, score, 50.0), atol=1e-10)
    poisson = poisson_mean(y, score, 0.01)
    assert torch.allclose(tweedie_mean(y, score, 1.0, 0.01), poisson, rtol=1e-3)  # exp(h) against 1 + h
    near = tweedie_mean(y, score, 1.0 + 2e-4, 0.01)
    assert torch.allclose(near, tweedie_mean(y, score, 1.0, 0.01), rtol=1e-4)
    with pytest.raises(UsageError, match="power"):
        tweedie_mean(y, score, -1.0, 0.1)


@pytest.mark.parametrize(
    ("noise", "kind", "level"),
    [
        (GaussianNoise(0.1), "gaussian", 0.1),
        (PoissonNoise(0.02), "poisson", 0.02),
        (GammaNoise(50.0), "gamma", 50.0),
    ],
)
def test_noise_is_even_after_the_change_and_back_is_unbiased(
    noise: PoissonNoise, kind: str, level: float
) -> None:
    for grey in (0.3, 0.6, 0.9):
        clean = torch.full((1, 1, 200, 200), grey, dtype=torch.float64)
        noisy = torch.cat((noise.sample(clean, seed=1), torch.ones(1, 1, 1, 200, dtype=torch.float64)), -2)
        domain, lifted = for_noise(kind, noisy, level=level)
        v = domain.to(lifted)[..., :-1, :]
        expected = {"gaussian": 0.1, "poisson": math.sqrt(0.02), "gamma": 50**-0.5}[kind]
        assert float(v.std()) == pytest.approx(expected, rel=0.03)
        assert float(domain.back(v.mean())) == pytest.approx(grey, rel=4e-3)


@pytest.mark.parametrize("photons", [0.2, 1.0, 3.0, 30.0, 60.0])
def test_square_roots_of_few_photons_have_their_mean_and_variance(photons: float) -> None:
    gain = 0.02
    counts = torch.poisson(
        torch.full((400_000,), photons, dtype=torch.float64), generator=torch.Generator().manual_seed(0)
    )
    domain = SquareRoot(gain)
    v = domain.to(gain * counts)
    assert float(domain.back(v.mean())) == pytest.approx(gain * photons, rel=0.01)
    assert float(domain.variance_ratio(v.mean())) == pytest.approx(float(v.var()) / gain, rel=0.02)
    assert float(domain.back(domain.to(torch.zeros(())))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("noise", "kind", "level"),
    [
        (GaussianNoise(0.08), "gaussian", 0.08),
        (PoissonNoise(0.02), "poisson", 0.02),
        (GammaNoise(60.0), "gamma", 60.0),
    ],
)
def test_the_kind_of_noise_is_told_from_the_image(noise: PoissonNoise, kind: str, level: float) -> None:
    ramp = torch.linspace(0.1, 1, 256).expand(1, 1, 256, 256)
    clean = ramp + 0.2 * (torch.linspace(0, 40, 256).sin() > 0.3)[:, None] * ramp
    for scale in (1.0, 200.0):
        found = noise_kind(scale * noise.sample(clean, seed=2))
        assert found.kind == kind
        times = {"gaussian": scale, "poisson": scale, "gamma": 1.0}[kind]
        assert found.level == pytest.approx(level * times, rel=0.12)
        again = noise_kind(scale * noise.sample(clean, seed=2), clean=scale * clean)
        assert again.kind == kind
        assert again.power == pytest.approx({"gaussian": 0, "poisson": 1, "gamma": 2}[kind], abs=0.1)
    pedestal = noise_kind(3.0 + PoissonNoise(0.02).sample(clean, seed=3))
    assert pedestal.kind == "poisson"
    assert pedestal.offset == pytest.approx(3.0, abs=0.03)
    assert pedestal.level == pytest.approx(0.02, rel=0.2)
