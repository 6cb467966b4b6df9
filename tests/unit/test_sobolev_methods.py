"""The methods with Sobolev data terms: what they solve, what they fit, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.fidelities.frequencies import FrequencyGrid
from imagereg.methods.registry import methods
from imagereg.physics import gaussian_kernel, motion_kernel

SIDE = 64


def picture() -> torch.Tensor:
    """(1, 1, 64, 64): a bright disc on a ramp, with an empty margin."""
    axis = torch.linspace(-1, 1, SIDE)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    inside = (rows.square() + columns.square() < 0.25).float()
    return (inside * (0.7 + 0.3 * columns))[None, None]


def coloured(s: float, sigma: float, seed: int = 0) -> torch.Tensor:
    white = torch.randn(
        (1, 1, SIDE, SIDE), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    grid = FrequencyGrid(white.shape, (-2, -1), "neumann")
    half, full = grid.symbol(lambda squared: (1 + 100 * squared) ** (-s / 2), white)
    return (sigma * grid.multiply(white, half) / full.square().mean().sqrt()).float()


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float((image - truth).norm() / truth.norm())


@pytest.mark.parametrize("prior", ["tv", "quadratic", "none"])
@pytest.mark.parametrize("s", [-1.0, 0.0, 1.0])
def test_denoising_makes_the_image_better_for_noise_of_that_order(prior: str, s: float) -> None:
    truth = picture()
    noisy = truth + coloured(s, 0.15)
    scan = ir.Measurement(noisy, noise=ir.GaussianNoise(0.15), quantity="image")
    # The data term of smooth noise hardly weighs the long waves, so that less of a penalty does.
    strength = 0.03 if s > 0 else 0.1
    *_, state = ir.iterate(scan, "sobolev_denoise", s=s, prior=prior, strength=strength, device="cpu")
    assert state.finished
    if prior == "none" and s > 0:
        # Fine structures come in first: what an early stop leaves out is the picture itself.
        assert any("without a penalty" in note for note in state.notes)
        assert error(state.image, truth) > error(noisy, truth)
    else:
        assert error(state.image, truth) < error(noisy, truth)


def test_order_zero_with_total_variation_is_tv() -> None:
    noisy = picture() + coloured(0.0, 0.1)
    scan = ir.Measurement(noisy, noise=ir.GaussianNoise(0.1), quantity="image")
    options = {"strength": 0.1, "iterations": 400, "device": "cpu"}
    *_, ours = ir.iterate(scan, "sobolev_denoise", s=0.0, tolerance=1e-6, **options)
    *_, plain = ir.iterate(scan, "tv", tolerance=1e-5, **options)
    assert error(ours.image, plain.image) < 2e-3


@pytest.mark.parametrize(("method", "prior"), [("tv", "tv"), ("tikhonov", "quadratic")])
def test_the_data_term_is_an_option_of_other_methods(method: str, prior: str) -> None:
    noisy = picture() + coloured(-0.5, 0.1)
    scan = ir.Measurement(noisy, quantity="image")
    options = {"strength": 0.1, "iterations": 800, "device": "cpu"}
    common = {"s": -0.5, **options}
    *_, other = ir.iterate(scan, method, fidelity="sobolev", s_scale=5.0, tolerance=1e-5, **common)
    *_, ours = ir.iterate(scan, "sobolev_denoise", scale=5.0, prior=prior, tolerance=1e-7, **common)
    assert error(other.image, ours.image) < 1e-2
    *_, white = ir.iterate(scan, method, tolerance=1e-5, **options)
    assert error(other.image, white.image) > 2e-2


def test_space_variant_tv_takes_it_for_scans_along_the_detector() -> None:
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), 48, pixel=1.0)
    physics = ir.tomography(geometry, ir.Volume((32, 32), 1.0))
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:20, 10:24] = 1.0
    scan = ir.Measurement(physics.A(truth), physics=physics)
    *_, state = ir.iterate(
        scan, "space_variant_tv", psi="fbp", fidelity="sobolev", s=0.5, strength=0.002, device="cpu"
    )
    assert state.problem is not None
    assert state.problem.fidelity.grid.axes == (3,)  # type: ignore[attr-defined]
    assert error(state.image, truth) < 0.15


@pytest.mark.parametrize("s", [-1.0, 1.0])
def test_the_order_is_fitted_on_a_patch(s: float) -> None:
    noisy = picture() + coloured(s, 0.1, seed=3)
    scan = ir.Measurement(noisy, quantity="image")
    state = next(ir.iterate(scan, "sobolev_denoise", s="fit", patch=[0, 16, 0, 64], device="cpu"))
    assert state.problem is not None
    assert state.problem.fidelity.s == pytest.approx(s, abs=0.5)  # type: ignore[attr-defined]
    assert any("on the patch" in note for note in state.notes)
    state = next(ir.iterate(scan, "sobolev_denoise", device="cpu"))
    assert state.problem.fidelity.s == 0  # type: ignore[union-attr, attr-defined]
    with pytest.raises(UsageError, match=r"patch = \(0, 99, 0, 64\)"):
        next(ir.iterate(scan, "sobolev_denoise", patch=[0, 99, 0, 64], device="cpu"))


@pytest.mark.parametrize(
    ("kernel", "border", "solver"),
    [
        (gaussian_kernel(1.2), "periodic", "FourierADMM"),
        (gaussian_kernel(1.2), "symmetric", "FourierADMM"),
        (motion_kernel(5.0, 0.4), "reflect", "PDHG"),
    ],
)
def test_deblurring_takes_fourier_space_where_it_can(kernel: torch.Tensor, border: str, solver: str) -> None:
    truth = picture()
    physics = ir.blur(kernel, border=border)
    blurred = physics.A(truth) + coloured(0.0, 0.01)
    scan = ir.Measurement(blurred, physics=physics, quantity="image", noise=ir.GaussianNoise(0.01))
    *_, state = ir.iterate(scan, "sobolev_deblur", s=0.0, strength=0.005, device="cpu")
    assert type(state.solver).__name__ == solver
    assert error(state.image, truth) < error(blurred, truth)
    *_, stopped = ir.iterate(scan, "sobolev_deblur", s=0.0, prior="none", device="cpu")
    assert "at the noise" in stopped.finished


def test_they_are_refused_where_they_do_not_fit() -> None:
    image = ir.Measurement(picture(), quantity="image")
    blurred = ir.Measurement(picture(), physics=ir.blur(gaussian_kernel(1.0)), quantity="image")
    assert "sobolev_deblur" in methods()["sobolev_denoise"].refusal(blurred)
    assert "sobolev_denoise" in methods()["sobolev_deblur"].refusal(image)
    assert not methods()["sobolev_denoise"].refusal(image)
    assert not methods()["sobolev_deblur"].refusal(blurred)
