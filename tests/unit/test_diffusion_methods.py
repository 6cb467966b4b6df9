"""The methods on a diffusion prior with shipped weights, and how such a prior is trained."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.physics import Physics

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.methods.registry import method
from imagereg.networks.diffusion import DiffusionUNet
from imagereg.networks.store import find_weights, load_network
from imagereg.phantoms import ellipses_and_lines
from imagereg.physics import Saturation, downsampling, inpainting
from imagereg.services.training import make_task, run_training, write_weights
from imagereg.solvers.state import State
from imagereg.training.diffusion import Denoising, generated_pictures
from imagereg.training.loop import Schedule
from imagereg.training.pictures import free_pictures
from imagereg.training.squares import middle_of

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["red_diff", "dps", "diffpir", "ddrm"]
SHIPPED = {"diffusion_natural": "photographs", "diffusion_ct": "generated scenes"}


def final(states: Any) -> State:
    return deque(states, maxlen=1)[0]


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float(-10 * torch.log10(((image - truth) / truth.max()).square().mean()))


def slice_of_bodies(factor: float = 1.0) -> torch.Tensor:
    return factor * torch.from_numpy(ellipses_and_lines(64, seed=9_000_000_000))[None, None]


def scan(views: int = 32, factor: float = 0.02) -> ir.Measurement:
    angles = np.linspace(0, np.pi, views, endpoint=False)
    physics = ir.tomography(ir.ParallelBeam(angles, 96, pixel=1.0), ir.Volume((64, 64)))
    truth, noise = slice_of_bodies(factor), ir.RelativeNoise(0.01)
    return ir.Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


def photograph() -> torch.Tensor:
    """The liveliest square that the shipped prior was not trained on, (1, 1, 48, 48)."""
    squares = [middle_of(tile, 48) for tile in free_pictures(held=12)[-12:]]
    return max(squares, key=lambda square: float(square.std()))[None, None]


def masked(noise: float = 0.01) -> ir.Measurement:
    truth = photograph()
    mask = torch.rand(48, 48, generator=torch.Generator().manual_seed(0)) < 0.5
    known = ir.GaussianNoise(noise)
    data = known.sample(truth, seed=0) * mask
    return ir.Measurement(data, physics=inpainting(mask), noise=known, truth=truth, quantity="image")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_small_free_and_denoise(name: str) -> None:
    network, card = load_network(name, method="red_diff")
    assert isinstance(network, DiffusionUNet)
    assert SHIPPED[name] in card.data
    assert "no condition" in card.licence
    assert 1e6 < card.parameters < 3e6
    assert find_weights(name).stat().st_size <= 8e6
    pictures = free_pictures(held=12)[-12:] if name.endswith("natural") else generated_pictures(6, 64, 999)
    clean = torch.stack([middle_of(picture, 64).float() for picture in pictures])[:, None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for sigma, gain in ((0.02, 1.5), (0.1, 6.0), (0.5, 13.0), (2.0, 20.0)):
        found = network(clean + sigma * noise, sigma)
        better = 10 * float(torch.log10(sigma**2 / (found - clean).square().mean()))
        assert better > gain, (sigma, better)


# What the defaults gain over the start, less a margin.
GAINS = {"red_diff": 3.0, "diffpir": 3.0}


@pytest.mark.parametrize("name", GAINS)
def test_defaults_reconstruct_a_sparse_scan_in_any_unit(name: str) -> None:
    images = []
    for factor in (0.02, 20.0):
        measurement = scan(factor=factor)
        chosen = method(name, iterations=60)
        start = chosen.pose(measurement.ready()).start
        state = final(ir.iterate(measurement, chosen))
        images.append(state.image / factor)
        assert psnr(state.image, measurement.truth) > psnr(start, measurement.truth) + GAINS[name]
        assert any("diffusion_ct" in note for note in state.notes)
    torch.testing.assert_close(images[0], images[1], rtol=1e-2, atol=1e-2)


def test_a_diffusion_guided_by_a_sparse_scan_sees_its_fine_structures() -> None:
    measurement = scan()
    chosen = method("dps", iterations=60, strength=6.0)
    start = chosen.pose(measurement.ready()).start
    state = final(ir.iterate(measurement, chosen))
    # Without the ramp, strengths of 1 and 3 stayed below the start on scans of this kind.
    assert psnr(state.image, measurement.truth) > psnr(start, measurement.truth) + 2


@pytest.mark.parametrize("name", NAMES)
def test_defaults_fill_missing_pixels(name: str) -> None:
    measurement = masked()
    state = final(ir.iterate(measurement, name, iterations=60, scale=1.0))
    assert psnr(state.image, measurement.truth) > psnr(measurement.data, measurement.truth) + 6
    assert any("diffusion_natural" in note for note in state.notes)


def test_red_diff_undoes_coarse_pixels_and_clipping() -> None:
    truth = photograph()
    for physics in (downsampling((48, 48), 2), Saturation()):
        noise = ir.GaussianNoise(0.01)
        data = noise.sample(physics.A(truth), seed=0)
        measurement = ir.Measurement(data, physics=physics, noise=noise, truth=truth, quantity="image")
        # Clipped pixels have far to go: steps keep their length, which the defaults shorten.
        chosen = method("red_diff", scale=1.0, last=1.0)
        start = chosen.pose(measurement.ready()).start
        state = final(ir.iterate(measurement, chosen))
        assert psnr(state.image, truth) > psnr(start, truth) + 0.5


def test_the_ramp_of_a_scan_says_its_norm_and_what_it_makes_of_noise() -> None:
    from imagereg.fidelities.least_squares import LeastSquares
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.ramp import Ramp

    for columns in (24, 25):
        angles = np.linspace(0, np.pi, 6, endpoint=False)
        physics = ir.tomography(ir.ParallelBeam(angles, columns, pixel=1.0), ir.Volume((12, 12)))
        data = torch.randn(1, 1, 6, columns, generator=torch.Generator().manual_seed(0))
        problem = Problem(LeastSquares(data), physics)
        ramp = Ramp.of(problem.fidelity, 1.0)
        rows = torch.stack(
            [ramp.half(physics.A(x[None, None])).flatten() for x in torch.eye(144).reshape(-1, 12, 12)]
        )
        assert ramp.norm(problem) == pytest.approx(float(torch.linalg.matrix_norm(rows, 2)), rel=1e-3)
        torch.testing.assert_close(ramp.half(ramp.half(data)), ramp.metric(data))
        unit = torch.eye(columns)[None, None]
        assert ramp.noise() ** 2 == pytest.approx(float(ramp.half(unit).square().sum() / columns), rel=1e-5)


def test_tiles_of_a_large_image_are_those_of_the_whole() -> None:
    measurement = masked()
    wide = ir.Measurement(
        measurement.data.repeat(1, 1, 1, 3),
        physics=inpainting((measurement.physics.mask[0, 0] > 0).repeat(1, 3)),
        quantity="image",
    )
    chosen = {"iterations": 20, "scale": 1.0}
    whole = final(ir.iterate(wide, "red_diff", **chosen)).image
    tiled = final(ir.iterate(wide, "red_diff", tile=96, **chosen)).image
    assert float((whole - tiled).square().mean().sqrt()) < 0.01
    with pytest.raises(UsageError, match="multiples of 8"):
        final(ir.iterate(wide, "red_diff", tile=50, **chosen))


@pytest.mark.parametrize("name", NAMES)
def test_networks_of_deepinv_plug_in_unchanged(name: str) -> None:
    from deepinv.models import DRUNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DRUNet(1, 1, nc=[4, 4, 8, 8], nb=1, pretrained=None).eval()
    state = final(ir.iterate(masked(), method(name, iterations=3, scale=1.0).using(network)))
    assert state.image.shape == (1, 1, 48, 48)
    assert bool(torch.isfinite(state.image).all())


def test_volumes_and_colours_are_taken_slice_by_slice() -> None:
    from imagereg.physics import identity

    noisy = masked().truth + 0.1 * torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    colours = ir.Measurement(noisy, noise=ir.GaussianNoise(0.1), quantity="image")
    assert final(ir.iterate(colours, "red_diff", iterations=5)).image.shape == (1, 3, 48, 48)
    volume = ir.Measurement(noisy[:, None], physics=identity(), quantity="image")
    state = final(ir.iterate(volume, "red_diff", iterations=5))
    assert state.image.shape == (1, 1, 3, 48, 48)
    assert "Each slice has its own prior; nothing joins them." in state.notes


def test_what_does_not_fit_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known singular vectors and the data are a scan"):
        final(ir.iterate(scan(), "ddrm"))
    with pytest.raises(UsageError, match="are for lpn and not for red_diff"):
        final(ir.iterate(masked(), "red_diff", weights="lpn_ct_05"))
    with pytest.raises(UsageError, match="did you mean 'diffusion_ct'"):
        final(ir.iterate(masked(), "red_diff", weights="difusion_ct"))
    clipped = ir.Measurement(masked().truth, physics=Saturation(), quantity="image")
    for name in ("tv", "pnp", "cgls", "diffpir"):
        with pytest.raises(UsageError, match=f"{name} is for linear physics and Saturation is not; use red_"):
            final(ir.iterate(clipped, name))
    blind = ir.Measurement(masked().truth, physics=Physics(A=lambda x, **_: x**2), quantity="image")
    with pytest.raises(UsageError, match="gives no image to start from"):
        final(ir.iterate(blind, "red_diff"))


def test_training_learns_to_denoise_and_its_weights_are_used(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(4):
        np.save(folder / f"{number}.npy", slice_of_bodies()[0, 0].numpy()[:, :: 1 if number else -1])
    out = tmp_path / "own.safetensors"
    settings = {"crop": 16, "held": 1}
    task = make_task("diffusion_ct", folder, seed=0, settings=settings)
    schedule = Schedule(steps=30, batch=4, rate=0.01, validate=15, checkpoint=15, precision="float32")
    states = list(run_training(task, schedule, out))
    assert states[-1].values["psnr"] > states[0].values["psnr"] + 1
    card = write_weights("diffusion_ct", states[-1], out, data="own", licence="", command="", seed=0)
    assert card.method == "red_diff"
    assert card.licence.startswith("unknown")
    state = final(ir.iterate(scan(views=8), "red_diff", weights=str(out), iterations=2))
    assert torch.isfinite(state.image).all()
    again = make_task("diffusion", folder, start=str(out), settings=settings)
    assert again.network.settings() == task.network.settings()
    with pytest.raises(UsageError, match="more than the 12"):
        make_task("diffusion", folder)


def test_the_loss_is_that_of_the_denoiser_weighted_by_its_level() -> None:
    task = Denoising(generated_pictures(3, 32, 0), DiffusionUNet(widths=(4, 8)), crop=16, held=1)
    clean, noisy, sigma = task.batch(torch.Generator().manual_seed(0), 6)
    error = (task.network(noisy, sigma) - clean).square().mean((1, 2, 3))
    level = sigma.flatten()
    wanted = (error * (level**2 + 0.25**2) / (0.25 * level) ** 2).mean()
    torch.testing.assert_close(task.loss(task.network, (clean, noisy, sigma)), wanted, rtol=1e-3, atol=1e-5)
