"""Crop, bin, pad and views: pixels and rays stay where they are in space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.preprocessing import preprocess

ANGLES = np.linspace(0, np.pi, 12, endpoint=False)
COMMON: dict[str, Any] = {
    "angles": ANGLES,
    "columns": 31,
    "rows": 9,
    "pixel": 0.5,
    "row_pixel": 0.4,
    "axis_offset": 0.7,
    "detector_offset": (1.3, 0.0),
}
BEAMS = {
    "parallel": ir.ParallelBeam(**COMMON),
    "fan": ir.FanBeam(**COMMON, source_origin=80.0, source_detector=120.0),
    "cone": ir.ConeBeam(
        **{**COMMON, "detector_offset": (1.3, -0.6)}, source_origin=80.0, source_detector=120.0
    ),
}


def scan(kind: str) -> ir.Measurement:
    data = np.random.default_rng(0).uniform(1, 2, (12, 9, 31)).astype(np.float32)
    return ir.Measurement(data, geometry=BEAMS[kind])


def pixels(geometry: Any) -> np.ndarray:
    """(views, rows, columns, 3): where the middle of each pixel is, in mm."""
    vectors = geometry.vectors()
    column = np.arange(geometry.columns) - (geometry.columns - 1) / 2
    row = np.arange(geometry.rows) - (geometry.rows - 1) / 2
    across = vectors.column[:, None, None] * column[None, None, :, None]
    along = vectors.row[:, None, None] * row[None, :, None, None]
    return np.asarray(vectors.centre[:, None, None] + across + along)


@pytest.mark.parametrize("kind", BEAMS)
def test_cropped_pixels_stay_where_they_are(kind: str) -> None:
    before = scan(kind)
    done = preprocess(before, [{"crop": {"columns": [4, -3], "rows": [2, 7]}}])
    np.testing.assert_array_equal(done.data, before.data[:, 2:7, 4:-3])
    there, here = pixels(before.geometry)[:, 2:7, 4:-3], pixels(done.geometry)
    # Rows of independent slices have no place along the axis that matters.
    axes = slice(None) if kind == "cone" else slice(0, 2)
    np.testing.assert_allclose(here[..., axes], there[..., axes], atol=1e-12)
    assert done.geometry.centre_of_rotation == pytest.approx(before.geometry.centre_of_rotation - 4)


@pytest.mark.parametrize("kind", BEAMS)
def test_binned_pixels_lie_in_the_middle_of_their_block(kind: str) -> None:
    before = scan(kind)
    done = preprocess(before, [{"bin": {"columns": 3, "rows": 2}}])
    assert done.data.shape == (12, 4, 10)
    np.testing.assert_allclose(done.data[2, 1, 3], before.data[2, 2:4, 9:12].mean(), rtol=1e-6)
    there = pixels(before.geometry)[:, :8, :30].reshape(12, 4, 2, 10, 3, 3).mean(axis=(2, 4))
    axes = slice(None) if kind == "cone" else slice(0, 2)
    np.testing.assert_allclose(pixels(done.geometry)[..., axes], there[..., axes], atol=1e-12)
    assert done.geometry.centre_of_rotation == pytest.approx(
        (before.geometry.centre_of_rotation + 0.5) / 3 - 0.5
    )
    assert (done.geometry.pixel, done.geometry.row_edge) == (1.5, 0.8)


def test_binning_weighs_and_adds_weights() -> None:
    before = scan("parallel")
    weights = np.random.default_rng(1).uniform(0.5, 2, before.data.shape).astype(np.float32)
    weights[0, 0, :2] = 0
    weights[1, 0, 0] = 0
    heavy = ir.Measurement(before.data, geometry=before.geometry, weights=weights)
    done = preprocess(heavy, [{"bin": {"columns": 2, "rows": 1}}])
    assert done.weights[0, 0, 0] == 0
    assert done.data[0, 0, 0] == pytest.approx(before.data[0, 0, :2].mean(), rel=1e-6)
    assert done.data[1, 0, 0] == pytest.approx(before.data[1, 0, 1], rel=1e-6)
    pair = slice(4, 6)
    expected = np.average(before.data[3, 2, pair], weights=weights[3, 2, pair])
    assert done.data[3, 2, 2] == pytest.approx(expected, rel=1e-6)
    assert done.weights[3, 2, 2] == pytest.approx(weights[3, 2, pair].sum(), rel=1e-6)


def test_counts_are_binned_with_their_flats() -> None:
    before = scan("parallel")
    flats = np.random.default_rng(2).uniform(1, 2, (5, 9, 31)).astype(np.float32)
    counted = ir.Measurement(before.data, geometry=before.geometry, quantity="counts", flats=flats)
    done = preprocess(counted, [{"crop": {"columns": [0, 30]}}, {"bin": {"columns": 2, "rows": 3}}])
    assert done.flats.shape == (5, 3, 15)
    assert done.flats[4, 2, 14] == pytest.approx(flats[4, 6:9, 28:30].mean(), rel=1e-6)


def test_a_single_row_is_binned_along_its_columns() -> None:
    geometry = ir.ParallelBeam(angles=ANGLES, columns=31)
    done = preprocess(ir.Measurement(np.ones((12, 31), np.float32), geometry=geometry), ["bin"])
    assert done.data.shape == (12, 15)
    with pytest.raises(UsageError, match="crop columns only"):
        preprocess(
            ir.Measurement(np.ones((12, 31), np.float32), geometry=geometry), [{"crop": {"rows": [0, 1]}}]
        )
    with pytest.raises(UsageError, match="do not fit into a detector of 1 x 31"):
        preprocess(
            ir.Measurement(np.ones((12, 31), np.float32), geometry=geometry), [{"bin": {"columns": 40}}]
        )


@pytest.mark.parametrize("kind", BEAMS)
def test_padding_moves_no_pixel(kind: str) -> None:
    before = scan(kind)
    done = preprocess(before, [{"pad": {"columns": 6, "mode": "edge"}}])
    np.testing.assert_array_equal(done.data[..., 6:-6], before.data)
    np.testing.assert_allclose(pixels(done.geometry)[:, :, 6:-6], pixels(before.geometry), atol=1e-12)
    assert (done.data[..., 0] == before.data[..., 0]).all() and (done.weights[..., :6] == 0).all()
    faded = preprocess(before, [{"pad": {"columns": 6}}])
    assert np.abs(faded.data[..., 0]).max() < 1e-6
    assert (np.diff(faded.data[..., :7], axis=-1) >= 0).all()


def test_views_keep_their_angles() -> None:
    before = scan("fan")
    done = preprocess(before, [{"views": {"first": 1, "end": -1, "every": 3}}])
    np.testing.assert_array_equal(done.data, before.data[1:-1:3])
    np.testing.assert_array_equal(done.geometry.angles, ANGLES[1:-1:3])
    with pytest.raises(UsageError, match="nothing is left of 12 views"):
        preprocess(before, [{"views": {"first": 12}}])
