"""The network on filtered back-projection: what it gains, its units, and its place as a pre-estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.methods.pre_estimate import pre_estimate
from imagereg.metrics import psnr
from imagereg.networks.reconstructor import grey_scale, reconstruct
from imagereg.networks.unet import UNet
from imagereg.training.learned_fbp import LearnedFBP, Scans
from imagereg.training.painted import painted


def scan(geometry: object, *, scale: float = 1.0, size: int = 128) -> ir.Measurement:
    truth = torch.from_numpy(painted(size, np.random.default_rng(12345)))[None, None] * scale
    physics = ir.tomography(geometry, ir.Volume((size, size)))
    noise = ir.RelativeNoise(0.01)
    return ir.Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


GEOMETRIES = {
    "parallel": ir.ParallelBeam(np.linspace(0, np.pi, 60, endpoint=False), 190, pixel=1.0),
    "fan": ir.FanBeam(
        np.linspace(0, 2 * np.pi, 90, endpoint=False),
        220,
        pixel=1.3,
        source_origin=500.0,
        source_detector=700.0,
    ),
}


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_shipped_weights_gain_on_scenes_that_they_never_saw(kind: str) -> None:
    measurement = scan(GEOMETRIES[kind])
    truth = measurement.truth.numpy()
    fbp = psnr(ir.reconstruct(measurement, "fbp").image.numpy(), truth, data_range=1.0)
    result = ir.reconstruct(measurement, "learned_fbp")
    assert psnr(result.image.numpy(), truth, data_range=1.0) > fbp + 5
    assert float(result.image.min()) >= 0


def test_the_unit_of_the_data_does_not_matter() -> None:
    one = ir.reconstruct(scan(GEOMETRIES["parallel"]), "learned_fbp").image
    other = ir.reconstruct(scan(GEOMETRIES["parallel"], scale=0.01), "learned_fbp").image
    assert torch.allclose(100 * other, one, atol=1e-3)


def test_it_is_a_pre_estimate_under_both_names() -> None:
    measurement = scan(GEOMETRIES["parallel"], size=128).ready()
    images = []
    for psi in ("network", "learned_fbp"):
        work = pre_estimate(psi, measurement)
        try:
            while True:
                state = next(work)
                assert state.phase == "pre-estimate"
        except StopIteration as end:
            images.append(end.value)
    assert torch.equal(*images)


def test_grey_scale_is_that_of_the_image_and_not_of_its_noise() -> None:
    image = torch.zeros(2, 1, 64, 64)
    image[..., 16:48, 16:48] = 3.0
    noisy = image + torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(grey_scale(noisy).flatten(), torch.tensor([3.0, 3.0]), rtol=0.2)
    assert float(grey_scale(torch.zeros(1, 1, 5, 7))) == 1.0


def test_channels_and_items_are_independent() -> None:
    torch.manual_seed(0)
    network = UNet(widths=(4, 8), blocks=1)
    back = torch.rand(2, 3, 20, 24)
    whole = reconstruct(network, back)
    assert torch.allclose(whole[1:, 2:], reconstruct(network, back[1:, 2:]), atol=1e-6)


def test_training_pairs_are_scans_of_the_scenes() -> None:
    scans = Scans(size=64, views=(90, 120), noise=(0.001, 0.002))
    back, truth = scans.pairs(3, seed=7)
    assert back.shape == truth.shape == (3, 1, 64, 64)
    assert float((back - truth).norm() / truth.norm()) < 0.4
    again = scans.pairs(3, seed=7)
    assert torch.equal(again[0], back)
    pictures = (torch.rand(80, 70),)
    task = LearnedFBP(UNet(widths=(4, 8), blocks=1), scans=Scans(64, (20, 30), pictures=pictures), stacks=1)
    y, x = task.batch(torch.Generator().manual_seed(0), 5)
    assert y.shape == x.shape == (5, 1, 64, 64)
    assert set(task.validate(task.network)[0]) == {"psnr", "psnr_fbp"}
    with pytest.raises(UsageError, match="smallest picture"):
        Scans(128, pictures=pictures)


def test_painted_scenes_are_in_the_unit_range_with_hard_edges() -> None:
    for seed in range(5):
        picture = painted(96, np.random.default_rng(seed))
        assert picture.min() == 0
        assert 0 < picture.max() <= 1
        assert len(np.unique(picture)) < 60
