"""Noise2Score: shipped weights, unknown noise, training on one noisy image, the error without a clean one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.methods.registry import method
from imagereg.metrics import psnr
from imagereg.networks.score import ScoreNetwork, Turned, noise_scale
from imagereg.noise.blind import sweep
from imagereg.noise.denoising_risk import denoising_risk, psnr_of
from imagereg.phantoms import ellipses_and_lines
from imagereg.training.noise2score import OwnScores, PictureScores, score_loss


def scene(size: int = 128) -> torch.Tensor:
    """Ellipses in [0.1, 1], (1, 1, size, size)."""
    return 0.1 + 0.9 * torch.from_numpy(ellipses_and_lines(size, seed=3))[None, None]


def decibels(image: torch.Tensor, clean: torch.Tensor) -> float:
    return float(psnr(image.numpy(), clean.numpy(), data_range=1.0))


@pytest.mark.parametrize(
    ("noise", "gain"),
    [(ir.GaussianNoise(25 / 255), 7.0), (ir.PoissonNoise(0.02), 6.0), (ir.GammaNoise(40.0), 5.0)],
)
def test_shipped_weights_denoise_and_find_an_unknown_level(noise: object, gain: float) -> None:
    clean = scene()
    noisy = noise.sample(clean, seed=1)  # type: ignore[attr-defined]
    known = ir.reconstruct(ir.Measurement(noisy, noise=noise), "noise2score")
    blind = ir.reconstruct(ir.Measurement(noisy), "noise2score")
    before, after = decibels(noisy, clean), decibels(known.image, clean)
    assert after > before + gain
    assert decibels(blind.image, clean) > after - 0.5


def test_the_sigma_of_gaussian_noise_is_found_within_two_grey_values() -> None:
    clean = scene(192)
    for sigma in (15, 25, 50):
        noisy = ir.GaussianNoise(sigma / 255).sample(clean, seed=sigma)
        *_, last = ir.iterate(ir.Measurement(noisy), method("noise2score", noise="gaussian"))
        assert 255 * last.values["noise_level"] == pytest.approx(sigma, abs=2)


def test_the_image_scales_and_shifts_with_the_data() -> None:
    noisy = ir.GaussianNoise(0.1).sample(scene(64), seed=0)
    one = ir.reconstruct(ir.Measurement(noisy, noise=ir.GaussianNoise(0.1)), "noise2score").image
    other = ir.reconstruct(
        ir.Measurement(500 * noisy + 40, noise=ir.GaussianNoise(50.0)), "noise2score"
    ).image
    assert torch.allclose((other - 40) / 500, one, atol=1e-3)


def test_training_on_one_noisy_image_alone_and_its_estimated_error() -> None:
    clean = scene(96)
    noise = ir.GaussianNoise(0.15)
    noisy = noise.sample(clean, seed=4)
    chosen = method("noise2score", weights="", steps=60, batch=4, crop=32)
    states = list(ir.iterate(ir.Measurement(noisy, noise=noise), chosen))
    assert {state.phase for state in states[:-1]} == {"training"}
    assert states[-2].values["loss"] < states[0].values["loss"]
    assert all(state.image.shape == noisy.shape for state in states)
    found = decibels(states[-1].image, clean)
    assert found > decibels(noisy, clean) + 4
    # The range that the estimate takes as peak is the image's own.
    span = float(states[-1].image.quantile(0.999) - states[-1].image.quantile(0.001))
    assert states[-1].values["psnr_estimate"] == pytest.approx(found + 20 * math.log10(span), abs=0.8)
    again = list(ir.iterate(ir.Measurement(noisy, noise=noise), chosen))[-1]
    assert torch.equal(again.image, states[-1].image)


def test_stacks_and_colours_are_taken_one_by_one() -> None:
    noise = ir.GaussianNoise(0.1)
    noisy = noise.sample(scene(64).expand(2, 3, 64, 64), seed=5)
    whole = ir.reconstruct(ir.Measurement(noisy, noise=noise), "noise2score").image
    single = ir.reconstruct(ir.Measurement(noisy[1:, 2:], noise=noise), "noise2score").image
    assert torch.allclose(whole[1:, 2:], single, atol=1e-5)


def test_the_risk_is_that_of_a_wiener_filter() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 1, 300, 300, generator=generator)
    noisy = clean + 0.5 * torch.randn(clean.shape, generator=generator)
    factor = 1 / 1.25
    found = denoising_risk(lambda y: factor * y, noisy, torch.tensor(0.25))
    assert found == pytest.approx(float((factor * noisy - clean).square().mean()), rel=0.03)
    assert psnr_of(0.01, 1.0) == pytest.approx(20.0)


def test_a_sweep_finds_the_level_of_an_exact_score() -> None:
    generator = torch.Generator().manual_seed(1)
    sigma = 0.1
    noisy = 0.5 + sigma * torch.randn(1, 1, 64, 64, generator=generator)
    score = -(noisy - 0.5) / sigma**2  # of a constant image
    found = sweep(noisy, score, "gaussian", 0.13)
    assert found.level == pytest.approx(sigma, rel=0.02)
    assert len(found.values) == len(found.levels) == 60
    with pytest.raises(UsageError, match="around"):
        sweep(noisy, score, "gaussian", 0.0)


def test_the_loss_is_least_at_the_score_of_the_smoothed_density() -> None:
    generator = torch.Generator().manual_seed(2)
    y = 0.3 * torch.randn(4, 1, 128, 128, generator=generator)
    level = torch.full((4, 1, 1, 1), 0.2)
    u = torch.randn(y.shape, generator=generator)
    total = 0.3**2 + 0.2**2

    def loss(factor: float) -> float:
        return float(score_loss(lambda v: -factor * v / total, (y, u, level)))

    assert loss(1.0) < min(loss(0.9), loss(1.1))
    assert loss(1.0) == pytest.approx(0.3**2 / total, rel=0.03)


def test_the_mean_over_turned_images_turns_with_the_image() -> None:
    torch.manual_seed(0)
    network = ScoreNetwork(widths=(4, 8), blocks=1).requires_grad_(False)
    y = torch.randn(2, 1, 12, 12)
    assert not torch.allclose(network(y.rot90(1, (-2, -1))), network(y).rot90(1, (-2, -1)), atol=1e-3)
    turned = Turned(network)
    for turns in range(4):
        assert torch.allclose(turned(y.rot90(turns, (-2, -1))), turned(y).rot90(turns, (-2, -1)), atol=1e-5)
    assert torch.allclose(turned(y.flip(-2)), turned(y).flip(-2), atol=1e-5)
    noisy = ir.GaussianNoise(0.1).sample(scene(64), seed=2)
    found = [
        ir.reconstruct(
            ir.Measurement(noisy, noise=ir.GaussianNoise(0.1)), method("noise2score", self_ensemble=value)
        ).image
        for value in (False, True)
    ]
    assert decibels(found[1], scene(64)) > decibels(found[0], scene(64)) - 0.1


def test_with_a_fixed_unit_a_part_of_an_image_is_as_in_the_whole() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 1, 96, 96) * torch.linspace(0.1, 2, 96)
    part = (..., slice(64), slice(64))
    networks = [
        ScoreNetwork(widths=(4, 8), blocks=1, **fixed) for fixed in ({}, {"unit": 0.5, "centre": 0.1})
    ]
    with torch.no_grad():
        errors = [float((net(image[part]) - net(image)[part])[..., :32, :32].abs().max()) for net in networks]
    assert errors[0] > 0.1
    assert errors[1] < 1e-5
    settings = networks[1].settings()
    assert ScoreNetwork(**settings).settings() == settings


def test_noise_scale_is_that_of_white_noise_and_never_zero() -> None:
    noisy = scene(128) + 0.2 * torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(3))
    assert float(noise_scale(noisy)) == pytest.approx(0.2, rel=0.05)
    assert float(noise_scale(torch.zeros(1, 1, 8, 8))) > 0


def test_tasks_say_what_is_wrong_with_their_pictures() -> None:
    with pytest.raises(UsageError, match="give more than"):
        PictureScores([torch.zeros(100, 100)] * 3, ScoreNetwork(widths=(4, 8)), crop=32)
    with pytest.raises(UsageError, match="edge of 20"):
        PictureScores([torch.zeros(20, 100)] * 20, ScoreNetwork(widths=(4, 8)), crop=32)
    small = OwnScores(torch.rand(1, 1, 24, 40), ScoreNetwork(widths=(4, 8)), crop=64)
    assert small.batch(torch.Generator().manual_seed(0), 3)[0].shape == (3, 1, 24, 24)


def test_physics_and_volumes_are_refused() -> None:
    scan = ir.Measurement(
        np.zeros((4, 8), dtype=np.float32), geometry=ir.ParallelBeam(np.linspace(0, 3, 4), 8, pixel=1.0)
    )
    for name in ("noise2score", "nuclear_norm_denoiser", "recorrupted"):
        with pytest.raises(UsageError, match="image"):
            ir.reconstruct(scan, name)
