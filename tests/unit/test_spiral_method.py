"""SPIRAL-TAP as a method: counts of emission and of transmission, every penalty, and its refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.fidelities.poisson import TransmissionPoisson
from imagereg.methods.registry import methods
from imagereg.methods.spiral_tap import PENALTIES
from imagereg.physics import TransmissionNoise, gaussian_kernel

SIDE = 32


def object_() -> torch.Tensor:
    truth = torch.zeros(1, 1, SIDE, SIDE)
    truth[..., 6:18, 8:22] = 1.0
    truth[..., 20:26, 12:16] = 2.0
    return truth


def scanner() -> Any:
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), 48, pixel=1.0)
    return ir.tomography(geometry, ir.Volume((SIDE, SIDE), 1.0))


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float((image - truth).norm() / truth.norm())


def emitted(truth: torch.Tensor | None = None) -> ir.Measurement:
    physics, noise = scanner(), ir.PoissonNoise()
    clean = physics.A(object_() if truth is None else truth).clamp_min(0)
    return ir.Measurement(noise.sample(clean, seed=0), physics=physics, noise=noise)


def sources() -> torch.Tensor:
    """Twelve bright pixels in the dark."""
    truth = torch.zeros(1, 1, SIDE, SIDE)
    places = torch.randperm(22 * 22, generator=torch.Generator().manual_seed(0))[:12]
    truth[0, 0, 5 + places // 22, 5 + places % 22] = 20.0 + 4.0 * torch.arange(12)
    return truth


@pytest.mark.parametrize("penalty", PENALTIES)
def test_every_penalty_gives_a_non_negative_image_near_the_truth(penalty: str) -> None:
    # Each on an image of its own kind: bright pixels, or regions.
    pixels = penalty == "sparse"
    truth = sources() if pixels else object_()
    options = {"penalty": penalty, "strength": 0.02 if pixels else 0.3, "iterations": 40}
    states = list(ir.iterate(emitted(truth=truth), "spiral_tap", device="cpu", **options))
    image = states[-1].image
    assert float(image.min()) >= 0
    assert error(image, truth) < (0.05 if pixels else 0.35)
    assert states[-1].values["sub-problems"] >= 1
    assert (states[-1].objective is None) == (penalty == "partition_invariant")


def test_units_of_the_image_do_not_change_the_meaning_of_strength() -> None:
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), 48, pixel=0.1)
    fine = ir.tomography(geometry, ir.Volume((SIDE, SIDE), 0.1))
    scan = emitted()
    same = ir.Measurement(scan.data, physics=fine, noise=scan.noise)
    options = {"strength": 0.2, "iterations": 30, "device": "cpu"}
    *_, coarse = ir.iterate(scan, "spiral_tap", **options)
    *_, small = ir.iterate(same, "spiral_tap", **options)
    assert error(0.1 * small.image, coarse.image) < 0.05


def test_counts_in_transmission_come_by_the_noise_by_weights_or_as_counts() -> None:
    physics = scanner()
    truth = 0.05 * object_()
    noise = TransmissionNoise(500.0)
    counts = noise.counts(physics.A(truth), seed=1).clamp_min(1.0)
    lines = -(counts / 500.0).log()
    scans = [
        ir.Measurement(lines, physics=physics, noise=noise),
        ir.Measurement(lines, physics=physics, weights=counts),
        ir.Measurement(counts, physics=physics, noise=noise, quantity="counts"),
    ]
    images = []
    for scan in scans:
        *_, state = ir.iterate(scan, "spiral_tap", strength=0.05, iterations=60, device="cpu")
        assert isinstance(state.problem.fidelity, TransmissionPoisson)  # type: ignore[union-attr]
        images.append(state.image)
    assert error(images[0], truth) < 0.3
    for image in images[1:]:
        assert error(image, images[0]) < 0.05


def test_blurred_counts_of_an_image() -> None:
    physics, noise = ir.blur(gaussian_kernel(1.0)), ir.PoissonNoise()
    counts = noise.sample(50 * physics.A(object_()).clamp_min(0), seed=2)
    scan = ir.Measurement(counts, physics=physics, noise=noise, quantity="counts")
    *_, state = ir.iterate(scan, "spiral_tap", strength=0.1, iterations=60, background=0.5, device="cpu")
    assert error(state.image, 50 * object_()) < error(counts, 50 * object_())


def test_it_is_refused_where_there_are_no_counts() -> None:
    physics = scanner()
    lines = physics.A(object_())
    plain = ir.Measurement(lines, physics=physics, noise=ir.GaussianNoise(0.1))
    assert "poisson or transmission noise" in methods()["spiral_tap"].refusal(plain)
    weighted = ir.Measurement(lines, physics=physics, weights=torch.ones_like(lines))
    assert not methods()["spiral_tap"].refusal(weighted)
    with pytest.raises(UsageError, match="background"):
        next(ir.iterate(weighted, "spiral_tap", background=1.0))
