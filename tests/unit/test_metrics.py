"""Figures of merit against values worked out by hand, and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imagereg.errors import UsageError
from imagereg.metrics import (
    all_metrics,
    matthews_correlation,
    otsu_threshold,
    psnr,
    relative_error,
    residual,
    ring_energy,
    rmse,
    ssim,
)
from imagereg.physics import identity

TRUTH = np.array([[0.0, 1.0], [2.0, 2.0]])
IMAGE = np.array([[0.0, 1.0], [2.0, 0.0]])


def _pair(seed: int = 0, shape: tuple[int, ...] = (32, 40)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.random(shape)
    return truth + 0.1 * random.standard_normal(shape), truth


def test_errors_by_hand() -> None:
    assert rmse(IMAGE, TRUTH) == pytest.approx(1.0)
    assert relative_error(IMAGE, TRUTH) == pytest.approx(2 / 3)
    assert psnr(IMAGE, TRUTH, data_range=10.0) == pytest.approx(20.0)
    assert psnr(IMAGE, TRUTH) == pytest.approx(20 * math.log10(2))
    assert psnr(TRUTH, TRUTH) == math.inf


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    image, truth = _pair()
    assert psnr(image, truth, data_range=1) == pytest.approx(
        peak_signal_noise_ratio(truth, image, data_range=1)
    )
    assert ssim(image, truth, data_range=1) == pytest.approx(
        structural_similarity(truth, image, data_range=1)
    )


def test_ssim_is_the_mean_over_slices() -> None:
    image, truth = _pair(shape=(2, 3, 16, 17))
    slices = [ssim(image[i, j], truth[i, j], data_range=1) for i in range(2) for j in range(3)]
    assert ssim(image, truth, data_range=1) == pytest.approx(np.mean(slices))
    colour = ssim(np.moveaxis(image[0], 0, -1), np.moveaxis(truth[0], 0, -1), data_range=1, channel_axis=-1)
    assert colour == pytest.approx(np.mean(slices[:3]))
    assert ssim(image[0, 0, :4, :5], truth[0, 0, :4, :5], data_range=1) < 1  # a window that fits


def test_tensors_count_as_arrays() -> None:
    image, truth = _pair()
    tensors = torch.from_numpy(image).requires_grad_(), torch.from_numpy(truth)
    assert all_metrics(*tensors) == all_metrics(image, truth)


def test_all_metrics_say_their_range() -> None:
    image, truth = _pair()
    found = all_metrics(image, truth)
    assert set(found) == {"rmse", "relative_error", "psnr", "ssim", "data_range"}
    assert found["data_range"] == pytest.approx(np.ptp(truth))
    assert all_metrics(image, truth, data_range=1.0)["psnr"] == pytest.approx(
        psnr(image, truth, data_range=1.0)
    )
    assert set(all_metrics(image, np.zeros_like(truth))) == {"rmse"}
    assert all(isinstance(value, float) for value in found.values())


def test_matthews_correlation_by_hand() -> None:
    mask = np.array([1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    found = np.array([1, 1, 0, 1, 0, 0, 0, 0], dtype=bool)
    tp, tn, fp, fn = 2, 4, 1, 1
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert matthews_correlation(found, mask) == pytest.approx(expected)
    assert matthews_correlation(mask, mask) == pytest.approx(1.0)
    assert matthews_correlation(~mask, mask) == pytest.approx(-1.0)
    assert matthews_correlation(np.zeros(8, dtype=bool), mask) == 0.0
    image = np.where(mask, 5.0, 1.0) + np.linspace(0, 0.5, 8)
    assert matthews_correlation(image, mask) == pytest.approx(1.0)  # Otsu between the two
    assert matthews_correlation(image, mask, threshold=5.1) < 1.0
    assert matthews_correlation(np.ones(8), mask) == 0.0


def test_otsu_threshold_lies_between_the_classes() -> None:
    image, _ = _pair()
    assert otsu_threshold(image) == pytest.approx(threshold_otsu(image), abs=np.ptp(image) / 256)
    two = np.concatenate([np.linspace(0, 1, 50), np.linspace(3, 4, 50)])
    assert otsu_threshold(two) == pytest.approx(2.0, abs=0.02)


def test_ring_energy_is_that_of_the_rings() -> None:
    y, x = np.mgrid[:129, :129] - 64.0
    radius = np.hypot(x, y)
    rings = sum(np.exp(-(((radius - r) / 0.8) ** 2)) for r in (12, 25, 40, 55))
    box = ((np.abs(x + 8) < 35) & (np.abs(y - 5) < 25)).astype(float)
    weak, strong = ring_energy(box + 0.05 * rings), ring_energy(box + 0.1 * rings)
    assert ring_energy(box) < 0.1 * weak
    assert ring_energy(0.1 * rings) == pytest.approx(4 * ring_energy(0.05 * rings))
    assert strong == pytest.approx(4 * weak, rel=0.2)
    smooth = np.exp(-((radius / 30) ** 2))
    assert ring_energy(smooth) < 1e-3 * ring_energy(0.1 * rings)
    moved = np.roll(0.1 * rings, (6, -5), (0, 1))
    here = ring_energy(moved, centre=(70, 59))
    assert here == pytest.approx(ring_energy(0.1 * rings), rel=0.3)  # fewer circles fit
    assert ring_energy(moved) < 0.3 * here
    assert ring_energy(np.stack([0.1 * rings, 0 * rings])) == pytest.approx(ring_energy(0.1 * rings) / 2)


def test_residual_is_relative() -> None:
    x = torch.ones(1, 1, 4, 4)
    assert residual(x, 2 * x, identity()) == pytest.approx(0.5)
    with pytest.raises(UsageError, match="zero everywhere"):
        residual(x, 0 * x, identity())


def test_bad_input_is_one_sentence() -> None:
    for metric in (rmse, relative_error, psnr, ssim, all_metrics):
        with pytest.raises(UsageError, match=r"shape \(2, 2\).*\(3, 2\)"):
            metric(np.zeros((2, 2)), np.zeros((3, 2)))
    with pytest.raises(UsageError, match="zero everywhere"):
        relative_error(TRUTH, 0 * TRUTH)
    with pytest.raises(UsageError, match="give data_range"):
        psnr(TRUTH, 0 * TRUTH)
    with pytest.raises(UsageError, match="positive"):
        psnr(TRUTH, TRUTH, data_range=-1)
    with pytest.raises(UsageError, match="3 x 3"):
        ssim(TRUTH, TRUTH)
    with pytest.raises(UsageError, match="mask"):
        matthews_correlation(TRUTH, np.zeros(3))
    with pytest.raises(UsageError, match="no circle"):
        ring_energy(np.zeros((40, 40)), centre=(2, 20))
    with pytest.raises(UsageError, match="give"):
        ring_energy(np.zeros(40))
