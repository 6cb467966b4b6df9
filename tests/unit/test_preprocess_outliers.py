"""Outliers and bad views: what is put right, and what must be left alone."""

from __future__ import annotations

import numpy as np
import pytest
from preprocess_scans import noisy, parallel_scan, project

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.preprocessing import preprocess


def counts_scan(photons: float = 3000) -> tuple[ir.Measurement, np.ndarray]:
    """Counts of two rows, and their expected values."""
    sums = [parallel_scan(seed, columns=128, views=90, photons=1e12)[0] for seed in (0, 1)]
    geometry = ir.ParallelBeam(angles=np.linspace(0, np.pi, 90, endpoint=False), columns=128, rows=2)
    expected = photons * np.exp(-np.stack(sums, axis=1).astype(np.float64))
    counts = np.random.default_rng(0).poisson(expected).astype(np.float32)
    flats = np.random.default_rng(1).poisson(np.full((8, 2, 128), photons)).astype(np.float32)
    darks = np.random.default_rng(2).normal(0, 1, (8, 2, 128)).astype(np.float32)
    return ir.Measurement(counts, geometry=geometry, quantity="counts", flats=flats, darks=darks), expected


def test_zingers_go_and_the_rest_stays() -> None:
    scan, expected = counts_scan()
    rng = np.random.default_rng(5)
    hit = np.zeros(scan.data.shape, bool)
    # One view in two at most, as two zingers side by side look like a part of the object.
    hit[2 * rng.permutation(44)[:40] + 1, rng.integers(0, 2, 40), rng.integers(3, 125, 40)] = True
    clean = scan.data.copy()
    scan.data[hit] += rng.uniform(2000, 30000, hit.sum()).astype(np.float32)
    done = preprocess(scan, ["outliers"])
    found = done.history[0]["found"]["outliers"]
    assert found == hit.sum()
    np.testing.assert_array_equal(done.data[~hit], clean[~hit])
    assert np.abs(done.data - expected)[hit].max() < 8 * np.sqrt(expected.max())
    np.testing.assert_array_equal(done.weights == 0, hit)
    assert any(f"{found} values standing out" in note for note in done.notes)


def test_bright_zingers_only_where_asked() -> None:
    scan, _ = counts_scan()
    scan.data[20, 0, 60] = 40000
    scan.data[40, 0, 60] = 0
    done = preprocess(scan, [{"outliers": {"which": "bright"}}])
    assert done.data[20, 0, 60] < 4000
    assert done.data[40, 0, 60] == 0


def test_a_speck_of_metal_is_no_zinger() -> None:
    """A dense grain far from the axis crosses each column in one view, and must survive."""
    geometry = ir.ParallelBeam(angles=np.linspace(0, np.pi, 180, endpoint=False), columns=256)
    shapes = np.array([[0.0, 0, 0.8, 0.8, 0, 0.5], [0.7, 0.1, 0.008, 0.008, 0, 60.0]])
    sums = noisy(project(shapes, geometry, 120.0), 1e5, np.random.default_rng(0))
    done = preprocess(ir.Measurement(sums, geometry=geometry), ["outliers"])
    assert done.history[0]["found"]["outliers"] <= 2
    assert np.abs(done.data - sums).sum() < 0.5


def test_hot_and_dead_pixels_are_found_in_darks_and_flats() -> None:
    scan, expected = counts_scan()
    scan.darks[:, 0, 40] = 900
    scan.data[:, 0, 40] += 900
    scan.flats[:, 1, 80] = 3
    scan.data[:, 1, 80] = 3
    done = preprocess(scan, ["outliers"])
    assert done.history[0]["found"]["pixels"] == 2
    assert np.abs(done.data[:, 0, 40] / expected[:, 0, 40] - 1).mean() < 0.1
    assert (done.flats[:, 1, 80] > 2500).all() and (np.abs(done.darks[:, 0, 40]) < 10).all()
    assert (done.weights[:, 0, 40] == 0).all()
    finished = preprocess(done, ["flatfield"])
    assert finished.history[1]["found"]["dead_pixels"] == 0
    assert (finished.weights[:, 0, 40] == 0).all()


def test_values_that_are_not_finite_or_saturated_are_interpolated() -> None:
    scan, expected = counts_scan()
    scan.data[10, 0, 30:33] = np.nan
    scan.data[11, 1, 50] = np.inf
    scan.data[12, 0] = np.nan
    scan.data[30, 0, 64:66] = 65535
    scan.data[31, 1, 20] = 65535
    done = preprocess(scan, [{"outliers": {"pixels": False}}])
    found = done.history[0]["found"]
    assert (found["not_finite"], found["saturated"]) == (3 + 1 + 128, 3)
    assert np.isfinite(done.data).all() and done.data.max() < 5000
    assert np.abs(done.data[12, 0] - expected[12, 0]).mean() < 0.2 * expected.mean()
    assert (done.weights == 0).sum() >= 135


def test_images_lose_their_specks() -> None:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(0, 1, 64), np.linspace(0, 1, 64))
    image = (smooth + 0.01 * rng.normal(size=(64, 64))).astype(np.float32)
    image[10, 10], image[40, 50] = 5.0, -3.0
    done = preprocess(ir.Measurement(image), ["outliers"])
    assert done.data.shape == (64, 64) and done.quantity == "image"
    assert done.data[10, 10] == pytest.approx(smooth[10, 10], abs=0.05)
    assert done.data[40, 50] == pytest.approx(smooth[40, 50], abs=0.05)
    assert (done.data != image).sum() == 2


def spoiled() -> tuple[ir.Measurement, tuple[int, ...]]:
    scan, _ = counts_scan()
    scan.data[7] = 1.0
    scan.data[20] = np.nan
    scan.data[33] *= 0.4
    scan.data[50] = 65535
    return scan, (7, 20, 33, 50)


def test_bad_views_are_found_and_dropped() -> None:
    scan, bad = spoiled()
    done = preprocess(scan, ["bad_views"])
    assert tuple(done.history[0]["views"]) == bad
    kept = np.setdiff1d(np.arange(90), bad)
    np.testing.assert_array_equal(done.data, scan.data[kept])
    assert done.geometry is not None and scan.geometry is not None
    np.testing.assert_array_equal(done.geometry.angles, scan.geometry.angles[kept])
    assert any("7 (one value only), 20 (not finite)" in note for note in done.notes)


def test_bad_views_are_interpolated_where_asked() -> None:
    scan, bad = spoiled()
    done = preprocess(scan, [{"bad_views": {"action": "interpolate"}}])
    np.testing.assert_allclose(done.data[7], (scan.data[6] + scan.data[8]) / 2, rtol=1e-6)
    assert (done.weights[list(bad)] == 0).all() and (done.weights[8] == 1).all()


def test_good_views_are_left_alone() -> None:
    scan, _ = counts_scan()
    done = preprocess(scan, ["bad_views"])
    assert done.history[0]["views"] == [] and done.notes == ()
    np.testing.assert_array_equal(done.data, scan.data)


def test_views_that_do_not_exist_are_refused() -> None:
    scan, _ = counts_scan()
    with pytest.raises(UsageError, match="there is no view 90; the scan has 90"):
        preprocess(scan, [{"bad_views": {"views": [90]}}])
    with pytest.raises(UsageError, match="nothing is left"):
        preprocess(scan, [{"bad_views": {"views": list(range(89))}}])


def test_a_beam_that_falls_off_smoothly_has_no_dead_pixels() -> None:
    """The profile of a beam is monotone over many columns: nearly every flat value is its own median."""
    random = np.random.default_rng(5)
    profile = 3e4 * (0.6 + 0.4 * np.hanning(340)[10:-10])
    counts = random.poisson(np.broadcast_to(profile, (60, 1, 320))).astype(np.uint16)
    flats = random.poisson(np.broadcast_to(profile, (20, 1, 320))).astype(np.uint16)
    flats[:, 0, 200] = 0
    counts[:, 0, 200] = 0
    geometry = ir.ParallelBeam(angles=np.linspace(0, np.pi, 60, endpoint=False), columns=320, rows=1)
    done = preprocess(ir.Measurement(counts, geometry=geometry, quantity="counts", flats=flats), ["outliers"])
    assert done.history[0]["found"]["pixels"] == 1
