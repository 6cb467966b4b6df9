"""Paganin's filter against the forward model that it inverts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from preprocess_scans import ellipses, project

import imagereg as ir
from imagereg.preprocessing import apply_rows, apply_steps, preprocess, resolve_steps
from imagereg.preprocessing.phase import Paganin

PIXEL = 0.001
STEP = {"paganin": {"energy": 20.0, "distance": 100.0, "delta_beta": 20.0}}


def propagated(sums: np.ndarray, length: float, pixel: float) -> np.ndarray:
    """Transmission after propagation, to first order: (1 - length^2 laplace) of exp(-sums), periodic."""
    rows, columns = sums.shape[-2:]
    k2 = (2 * math.pi * np.fft.fftfreq(rows, pixel)[:, None]) ** 2 + (
        2 * math.pi * np.fft.fftfreq(columns, pixel)
    ) ** 2
    return np.fft.ifft2(np.fft.fft2(np.exp(-sums)) * (1 + length**2 * k2)).real


def soft(views: int, rows: int, columns: int) -> np.ndarray:
    """Smooth line integrals that end well inside the picture."""
    x = np.linspace(-1, 1, columns)
    y = np.linspace(-1, 1, rows)[:, None] if rows > 1 else np.zeros((1, 1))
    return np.stack([np.exp(-((x - 0.2 * k / views) ** 2 + y**2) / 0.05) for k in range(views)])


def scan_of(transmission: np.ndarray, **more: float) -> ir.Measurement:
    views, rows, columns = transmission.shape
    angles = np.linspace(0, np.pi, views, endpoint=False)
    geometry = ir.ParallelBeam(angles=angles, columns=columns, rows=rows, pixel=PIXEL, **more)
    return ir.Measurement(transmission.astype(np.float32), geometry=geometry, quantity="transmission")


def test_the_length_is_that_of_the_formula() -> None:
    wavelength_mm = 12.39841984e-7 / 20.0
    expected = math.sqrt(100.0 * wavelength_mm * 20 / (4 * math.pi))
    assert Paganin(energy=20.0, distance=100.0, delta_beta=20.0).length == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [1, 96])
def test_propagation_is_undone(rows: int) -> None:
    sums = soft(3, rows, 128)
    length = Paganin(energy=20.0, distance=100.0, delta_beta=20.0).length
    blurred = scan_of(propagated(sums, length, PIXEL))
    assert np.abs(-np.log(blurred.data) - sums).max() > 0.01
    done = preprocess(blurred, [STEP])
    assert done.quantity == "line_integrals"
    np.testing.assert_allclose(done.data, sums, atol=2e-4)


def test_line_integrals_and_transmission_give_the_same() -> None:
    passed = scan_of(np.exp(-soft(2, 16, 64)))
    logged = preprocess(passed, ["flatfield"])
    np.testing.assert_allclose(preprocess(passed, [STEP]).data, preprocess(logged, [STEP]).data, atol=1e-6)


def test_flat_edges_see_no_jump() -> None:
    slab = np.full((2, 20, 64), 0.7)
    np.testing.assert_allclose(preprocess(scan_of(np.exp(-slab)), [STEP]).data, slab, atol=1e-5)


def test_a_band_with_its_halo_equals_the_whole() -> None:
    geometry = ir.ParallelBeam(angles=np.linspace(0, np.pi, 4, endpoint=False), columns=64)
    rows = [project(ellipses(seed // 20), geometry, 30.0) for seed in range(120)]
    scan = scan_of(np.exp(-np.stack(rows, axis=1)))
    resolved = resolve_steps(scan, [STEP])
    assert 0 < resolved[0].halo < 30
    whole = apply_steps(scan, resolved)
    band = apply_rows(scan, resolved, 50, 60)
    np.testing.assert_allclose(band.data, whole.data[:, 50:60], atol=2e-4)


def test_a_cone_magnifies() -> None:
    cone = ir.ConeBeam(
        angles=np.linspace(0, 6, 4),
        columns=64,
        rows=8,
        pixel=0.004,
        source_origin=50.0,
        source_detector=200.0,
    )
    scan = ir.Measurement(np.full((4, 8, 64), 0.5, np.float32), geometry=cone, quantity="transmission")
    done = preprocess(scan, [STEP])
    assert done.history[0]["magnification"] == 4.0
    assert done.history[0]["pixel"] == pytest.approx(0.001)
    assert any("blurs over" in note for note in done.notes)
    assert "hardly what you want" in preprocess(scan, [{"paganin": {"distance": 1e9}}]).notes[0]
