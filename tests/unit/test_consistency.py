"""Figures of trust: the residual in units of the noise, and the agreement of two halves of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imagereg.engine import iterate, reconstruct
from imagereg.errors import UsageError
from imagereg.geometry import ParallelBeam
from imagereg.measurement import Measurement
from imagereg.phantoms import ellipses_and_lines, simulate
from imagereg.physics import GaussianNoise
from imagereg.uncertainty.consistency import consistency, image_tensor
from imagereg.uncertainty.fourier_shell import half_bit_threshold, shell_correlation
from imagereg.uncertainty.half_sets import Halves, compare_halves, half_sets

SIDE = 64


def fbp(half: Measurement) -> Any:
    return iterate(half, "fbp")


@pytest.fixture(scope="module")
def scan() -> Measurement:
    geometry = ParallelBeam(np.linspace(0, np.pi, 90, endpoint=False), SIDE, pixel=0.5)
    clean = simulate("shepp_logan", geometry, attenuation=0.02)
    noise = GaussianNoise(0.01)
    data = noise.sample(np.asarray(clean.data, dtype=np.float64), seed=3).astype(np.float32)
    return replace(clean, data=data, noise=noise)


def test_noise_alone_gives_one(scan: Measurement) -> None:
    """The data of an image, with noise added: its residual is that noise."""
    x = np.asarray(scan.truth, dtype=np.float32)
    ready = scan.ready()
    clean = ready.physics.A(image_tensor(scan, x)).numpy()[:, 0].transpose(1, 0, 2).reshape(scan.data.shape)
    assert scan.noise is not None
    noisy = replace(scan, data=scan.noise.sample(clean, seed=1).astype(np.float32))
    found = consistency(noisy, x)
    M = scan.data.size
    assert abs(found.chi_square - 1) < 4 * np.sqrt(2 / M)
    assert found.residual.shape == scan.data.shape
    assert np.allclose(found.residual * 0.01, clean - noisy.data, atol=1e-5)
    assert abs(found.outside - 0.0027) < 4 * np.sqrt(0.0027 / M)
    assert abs(found.neighbours) < 4 / np.sqrt(M)
    assert "explains the data" in found.sentence
    assert not found.estimated
    # Half of the image is no image of these data.
    assert "not explained" in consistency(noisy, 0.5 * x).sentence
    with pytest.raises(UsageError, match="does not belong"):
        consistency(noisy, x[:-1])


def test_the_residual_of_a_picture_lies_on_its_pixels() -> None:
    rng = np.random.default_rng(0)
    truth = ellipses_and_lines(48, seed=1)
    colour = np.stack([truth, 0.5 * truth, truth], -1) + 0.1 * rng.standard_normal((48, 48, 3))
    scan = Measurement(colour.astype(np.float32), axes="YXC", noise=GaussianNoise(0.1))
    found = consistency(scan, colour.astype(np.float32) + 0.2)
    assert found.residual.shape == (48, 48, 3)
    assert np.allclose(found.residual, 2, atol=1e-4)


def test_the_curve_is_one_for_equals_and_low_for_strangers() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, SIDE, SIDE))
    same = shell_correlation(a, a)
    assert np.allclose(same.correlation, 1)
    assert same.resolution == {"half-bit": None, "1/7": None}
    assert "two pixels, 2 pixel (half-bit)" in same.sentence
    other = shell_correlation(a, b)
    counts = 2 * np.pi * np.arange(1, other.frequency.size + 1) / 2
    assert (np.abs(other.correlation) < 5 / np.sqrt(0.4 * counts)).all()


@pytest.mark.parametrize("shape", [(96, 96), (96, 80), (40, 40, 40)])
def test_the_resolution_is_where_signal_and_noise_meet(shape: tuple[int, ...]) -> None:
    """White noise on an object whose spectrum ends at a known frequency: above it only noise is left."""
    rng = np.random.default_rng(1)
    edge = 0.2
    q = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(n, 0.5) for n in shape], indexing="ij")))
    spectrum = np.fft.fftn(rng.standard_normal(shape)) * (q < edge)
    image = np.fft.ifftn(spectrum).real
    # A fourth of the power of a coefficient is noise.
    sigma = image.std() * np.sqrt(1 / (4 * (q < edge).mean()))
    halves = [image + sigma * rng.standard_normal(shape) for _ in range(2)]
    found = shell_correlation(*halves, voxel=(0.5,) * len(shape), unit="mm")
    size = found.resolution["half-bit"]
    assert size is not None
    assert abs(1 / size - edge) < 2.5 / (0.5 * min(shape))
    assert found.nyquist == 1.0
    assert "mm (half-bit)" in found.sentence


def test_thresholds_are_those_of_the_papers() -> None:
    # Many coefficients: SNR of 0.2071 for half a bit, 0.2071 / 1.2071.
    assert half_bit_threshold(1e12) == pytest.approx(0.1716, abs=1e-4)
    # Few: nothing is significant.
    assert half_bit_threshold(1) == pytest.approx(1.0)


def test_a_scan_is_parted_into_even_and_odd_views(scan: Measurement) -> None:
    ready = scan.ready()
    first, second, how = half_sets(ready)
    assert "even and odd" in how
    assert np.array_equal(first.data[:, :, 1], ready.data[:, :, 2])
    assert np.array_equal(second.data[:, :, 1], ready.data[:, :, 3])
    *states, last = compare_halves(ready, fbp, voxel=(0.5, 0.5), unit="mm")
    assert isinstance(last, Halves)
    assert {state.phase.split(", ")[-1] for state in states} == {"first half", "second half"}
    alone = reconstruct(scan.select(views=slice(1, None, 2)), "fbp").image
    assert np.allclose(last.second, alone, atol=1e-6)
    size = last.curve.resolution["1/7"]
    assert size is not None
    assert 1.0 < size < 6.0
    # More noise, less resolution.
    worse = replace(scan, data=scan.data + 0.05 * np.random.default_rng(2).standard_normal(scan.data.shape))
    *_, noisy = compare_halves(worse.ready(), fbp, voxel=(0.5, 0.5), unit="mm")
    assert noisy.curve.resolution["1/7"] > size
    with pytest.raises(UsageError, match="at least 8 views"):
        half_sets(scan.select(views=slice(0, 6)).ready())


def test_an_image_is_parted_into_diagonals_and_through_a_blur_by_noise() -> None:
    from imagereg import physics

    rng = np.random.default_rng(0)
    truth = ellipses_and_lines(65, seed=2)
    noisy = Measurement((truth + 0.1 * rng.standard_normal(truth.shape)).astype(np.float32))
    first, second, _ = half_sets(replace(noisy, noise=GaussianNoise(0.1)).ready())
    assert first.data.shape[-2:] == (32, 32)
    assert first.noise.sigma == pytest.approx(0.1 / np.sqrt(2))
    difference = (first.data - second.data).numpy()
    assert np.median(np.abs(difference)) / 0.6745 == pytest.approx(0.1, rel=0.1)
    *_, last = compare_halves(noisy.ready(), lambda half: iterate(half, "tv", iterations=20))
    assert last.curve.nyquist == 0.25
    blurred = replace(noisy, physics=physics.blur(physics.gaussian_kernel(1.0)))
    known = replace(blurred, noise=GaussianNoise(0.1)).ready()
    first, second, how = half_sets(known, seed=5)
    assert np.allclose((first.data + second.data) / 2, known.data, atol=1e-6)
    assert float((first.data - second.data).std()) == pytest.approx(0.2, rel=0.05)
    assert "added" in how
