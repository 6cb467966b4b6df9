"""Ring removal: stripes go, the object stays."""

from __future__ import annotations

import numpy as np
import pytest
from preprocess_scans import parallel_scan

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.preprocessing import preprocess
from imagereg.preprocessing.stripes import stripe_strength

COLUMNS, VIEWS = 200, 240
ALGORITHMS = ("sorting", "all_stripes", "wavelet_fourier")


@pytest.fixture(scope="module")
def clean() -> ir.Measurement:
    sums, geometry, _ = parallel_scan(4, columns=COLUMNS, views=VIEWS, photons=1e5)
    return ir.Measurement(sums, geometry=geometry)


def striped(clean: ir.Measurement, pattern: np.ndarray) -> ir.Measurement:
    return ir.Measurement((clean.data + pattern).astype(np.float32), geometry=clean.geometry)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_narrow_stripes_go(clean: ir.Measurement, algorithm: str) -> None:
    rng = np.random.default_rng(0)
    pattern = np.where(rng.uniform(size=COLUMNS) < 0.2, rng.normal(0, 0.05, COLUMNS), 0)
    before = striped(clean, pattern)
    done = preprocess(before, [{"rings": {"algorithm": algorithm}}])
    found = done.history[0]["found"]
    assert found["stripes_before"] > 0.01
    assert found["stripes_after"] < found["stripes_before"] / 4
    error = [np.sqrt(np.mean((m.data - clean.data) ** 2)) for m in (before, done)]
    assert error[1] < 0.75 * error[0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_clean_sinogram_is_hardly_touched(clean: ir.Measurement, algorithm: str) -> None:
    done = preprocess(clean, [{"rings": {"algorithm": algorithm}}])
    change = np.sqrt(np.mean((done.data - clean.data) ** 2))
    assert change < 0.03 * clean.data.std()


@pytest.mark.parametrize("kind", ["wide", "dead"])
def test_wide_and_dead_columns_need_all_stripes(clean: ir.Measurement, kind: str) -> None:
    pattern = np.zeros(COLUMNS)
    pattern[95:103] = 0.6 if kind == "wide" else 0.0
    spoiled = striped(clean, pattern)
    if kind == "dead":
        spoiled.data[:, 97:100] = 0.4
    errors = {}
    for algorithm in ("sorting", "all_stripes"):
        done = preprocess(spoiled, [{"rings": {"algorithm": algorithm, "width": 41}}])
        errors[algorithm] = np.sqrt(np.mean((done.data - clean.data)[:, 90:110] ** 2))
    assert errors["all_stripes"] < 0.6 * errors["sorting"]


def test_stripe_strength_is_the_pattern_without_the_noise(clean: ir.Measurement) -> None:
    rng = np.random.default_rng(1)
    pattern = np.zeros(400)
    pattern[::10] = rng.choice([-1.0, 1.0], 40)
    frames = (pattern + rng.normal(0, 3.0, (300, 1, 400))).astype(np.float32)
    assert stripe_strength(frames) == pytest.approx(np.sqrt(np.mean(pattern**2)), rel=0.15)
    assert stripe_strength((frames - pattern).astype(np.float32)) < 0.1


def test_the_median_grows_with_the_detector_and_is_odd(clean: ir.Measurement) -> None:
    done = preprocess(clean, ["rings"])
    assert done.history[0]["size"] == 5
    even = preprocess(clean, [{"rings": {"size": 6}}])
    odd = preprocess(clean, [{"rings": {"size": 7}}])
    np.testing.assert_array_equal(even.data, odd.data)


def test_an_unknown_wavelet_is_refused(clean: ir.Measurement) -> None:
    with pytest.raises(UsageError, match="no wavelet 'db5x'; did you mean 'db5'"):
        preprocess(clean, [{"rings": {"algorithm": "wavelet_fourier", "wavelet": "db5x"}}])
