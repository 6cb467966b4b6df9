"""Filtered back-projection of views at any angles: each counts for the arc that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from preprocess_scans import ellipses, project
from test_half_acquisition import raster

import imagereg as ir
from imagereg.geometry import Geometry, Volume
from imagereg.geometry.arcs import shares
from imagereg.preprocessing import health

GOLDEN = np.pi * (3 - np.sqrt(5))
VIEWS = 233  # the golden angle's gaps are of two sizes only for Fibonacci numbers of views; most are not

ORDERS = {
    "even": np.arange(VIEWS) * 2 * np.pi / VIEWS,
    "descending": -np.arange(VIEWS) * 2 * np.pi / VIEWS,
    "golden": np.mod(np.arange(VIEWS) * GOLDEN, 2 * np.pi),
    "golden, other number": np.mod(np.arange(200) * GOLDEN, 2 * np.pi),
    "three turns": np.mod(np.arange(VIEWS) * 6 * np.pi / VIEWS, 2 * np.pi),
    "interlaced": np.concatenate([np.arange(k, 240, 4) for k in (0, 2, 1, 3)]) * 2 * np.pi / 240,
    "each six times": np.repeat(np.arange(200) * 2 * np.pi / 200, 6),
    "one fifty times": np.concatenate([np.arange(VIEWS) * 2 * np.pi / VIEWS, np.zeros(50)]),
    "denser on one side": np.concatenate(
        [np.linspace(0, np.pi, 200), np.linspace(np.pi, 2 * np.pi, 100)[1:-1]]
    ),
}


def beam(kind: str, angles: np.ndarray) -> Geometry:
    if kind == "parallel":
        return ir.ParallelBeam(angles=angles, columns=64)
    return ir.FanBeam(angles=angles, columns=64, source_origin=200.0, source_detector=300.0)


def error(geometry: Geometry) -> float:
    """Relative error of a reconstruction from exact projections."""
    edge = geometry.pixel / geometry.magnification
    radius = 29 * edge
    shapes = ellipses(3) * np.array([radius] * 4 + [1, 1 / radius])
    truth = raster(shapes, Volume((64, 64), edge))
    sums = project(ellipses(3), geometry, radius).astype(np.float32)
    image = ir.reconstruct(ir.Measurement(sums, geometry=geometry), "fbp").image
    return float(np.linalg.norm(image - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize("kind", ["parallel", "fan"])
@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_the_views_does_not_matter(kind: str, order: str) -> None:
    """All have more views than the 101 that 64 columns ask for over half a turn."""
    assert error(beam(kind, ORDERS[order])) < 1.15 * error(beam(kind, ORDERS["even"]))


@pytest.mark.parametrize("order", ["golden", "golden, other number", "interlaced", "descending"])
def test_no_such_order_is_a_finding(order: str) -> None:
    geometry = beam("parallel", ORDERS[order])
    sums = project(ellipses(3), geometry, 29.0).astype(np.float32)
    assert health(ir.Measurement(sums, geometry=geometry)) == []


def test_half_a_turn_of_golden_angles() -> None:
    golden = np.mod(np.arange(150) * np.pi * (np.sqrt(5) - 1) / 2, np.pi)
    even = np.arange(150) * np.pi / 150
    assert error(beam("parallel", golden)) < 1.15 * error(beam("parallel", even))
    geometry = beam("parallel", golden)
    sums = project(ellipses(3), geometry, 29.0).astype(np.float32)
    assert health(ir.Measurement(sums, geometry=geometry)) == []


def test_shares_are_cells_of_the_circle() -> None:
    for angles in ORDERS.values():
        for period in (np.pi, 2 * np.pi):
            found, gap = shares(angles, period)
            assert gap == 0 and found.sum() == pytest.approx(period)
            again, _ = shares(angles + 3 * period, period)
            np.testing.assert_allclose(again, found, atol=1e-9)
    # Three views at 0, a right angle and half a turn: cells of 135, 90 and 135 degrees.
    found, _ = shares(np.array([0, np.pi / 2, np.pi]), 2 * np.pi)
    np.testing.assert_allclose(np.rad2deg(found), [135, 90, 135])
    twice, _ = shares(np.array([0, 0, np.pi / 2, np.pi, 2 * np.pi]), 2 * np.pi)
    np.testing.assert_allclose(np.rad2deg(twice), [45, 45, 90, 135, 45])
