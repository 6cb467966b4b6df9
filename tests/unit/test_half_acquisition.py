"""Whole turns with the axis near an edge of the detector: the axis, the grid and the images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from preprocess_scans import ellipses, noisy, project

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.geometry import Geometry, Volume
from imagereg.preprocessing import default_steps, find_centre, preprocess

KINDS = ("parallel", "fan")


def beam(kind: str, columns: int, views: int = 180, **more: Any) -> Geometry:
    angles = np.linspace(0, 2 * np.pi, views, endpoint=False)
    if kind == "parallel":
        return ir.ParallelBeam(angles=angles, columns=columns, **more)
    return ir.FanBeam(angles=angles, columns=columns, source_origin=400.0, source_detector=600.0, **more)


def half(kind: str, seed: int, axis: float, photons: float = 2e4) -> tuple[ir.Measurement, Geometry]:
    """A noisy scan as its file would give it (axis unknown), and where the axis is."""
    given = beam(kind, 96)
    placed = given.with_centre(axis)
    sums = project(ellipses(seed, size=0.8), placed, placed.sides[1] - 3)
    return ir.Measurement(noisy(sums, photons, np.random.default_rng(seed)), geometry=given), placed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.07, 0.16, 0.3, 0.4, 0.64, 0.9])
def test_the_axis_near_an_edge(kind: str, share: float) -> None:
    for seed, photons in ((1, 1e3), (2, 2e4), (3, 1e6)):
        axis = 95 * share
        scan, _ = half(kind, seed, axis, photons)
        found = find_centre(scan)
        # With 1000 photons in air a band of 14 columns behind the object holds few of them.
        assert abs(found.column - axis) < (0.3 if photons > 1e3 else 0.5)
        assert found.agreed and set(found.votes) == {"opposite_views", "overlap", "halves"}
        done = preprocess(scan, default_steps(scan))
        assert done.geometry is not None and done.geometry.half_acquired
        assert done.geometry.centre_of_rotation == pytest.approx(found.column, abs=1e-3)


def test_each_estimator_by_itself() -> None:
    for seed in range(4, 8):
        scan, _ = half("parallel", seed, 22.0 + seed)
        for name, vote in find_centre(scan).votes.items():
            assert abs(vote - 22.0 - seed) < 0.6, name


def test_one_edge_that_sees_the_object_does_not_hide_an_axis_in_the_middle() -> None:
    """An object that leaves the view on one side only, with the axis hardly off the middle."""
    scan, _ = half("parallel", 9, 45.0)
    assert abs(find_centre(scan).column - 45.0) < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_grid_is_as_wide_as_a_half_acquisition_sees(kind: str) -> None:
    placed = beam(kind, 96).with_centre(20.0)
    volume = Volume.fit(placed)
    assert volume.shape == (151, 151)  # twice from column 20 to the far edge at 95.5
    assert volume.size[0] / 2 == pytest.approx(placed.sides[1])
    assert Volume.fit(placed, binning=2).shape == (76, 76)
    half_turn = placed[: placed.views // 2]
    assert not half_turn.half_acquired and Volume.fit(half_turn).shape == (96, 96)
    assert Volume.fit(beam(kind, 96).with_centre(46.0)).shape == (96, 96)


def raster(shapes: np.ndarray, volume: Volume, sub: int = 4) -> np.ndarray:
    """Mean density of ellipses (mm) in each pixel."""
    size, edge = volume.shape[0] * sub, volume.edges[0] / sub
    x = (np.arange(size) - (size - 1) / 2) * edge
    across, up = np.meshgrid(x, -x)
    image = np.zeros((size, size))
    for cx, cy, a, b, tilt, density in shapes:
        along = (across - cx) * np.cos(tilt) + (up - cy) * np.sin(tilt)
        beside = -(across - cx) * np.sin(tilt) + (up - cy) * np.cos(tilt)
        image[(along / a) ** 2 + (beside / b) ** 2 < 1] += density
    return image.reshape(volume.shape[0], sub, -1, sub).mean((1, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_those_of_a_full_detector(kind: str) -> None:
    """The far half is seen once instead of twice, which costs at most the square root of two in noise."""
    scan, placed = half(kind, 3, 20.0)
    found = preprocess(scan, ["centre"])
    volume = Volume.fit(placed)
    radius = placed.sides[1] - 3
    shapes = ellipses(3, size=0.8) * np.array([radius] * 4 + [1, 1 / radius])
    truth = raster(shapes, volume)
    full = beam(kind, 151)
    sums = noisy(project(ellipses(3, size=0.8), full, radius), 2e4, np.random.default_rng(3))
    whole = ir.Measurement(sums, geometry=full, volume=volume)

    def error(measurement: ir.Measurement, method: str, **parameters: Any) -> float:
        image = ir.reconstruct(measurement, method, **parameters).image
        assert image.shape == volume.shape
        return float(np.linalg.norm(image - truth) / np.linalg.norm(truth))

    assert error(found, "fbp") < np.sqrt(2) * error(whole, "fbp")
    for_both = {"iterations": 60}
    assert error(found, "sirt", **for_both) < np.sqrt(2) * error(whole, "sirt", **for_both)


def test_greys_and_lengths_say_what_is_known() -> None:
    scan, _ = half("parallel", 3, 40.0)
    assert scan.grey == "attenuation in 1/mm"
    assert replace(scan, pixel_assumed=True).grey == "attenuation in 1/px"
    assert replace(scan, intensities=True).grey == "intensity in 1/mm"
    assert ir.reconstruct(replace(scan, pixel_assumed=True), "fbp").unit == "pixel"
    with pytest.raises(UsageError, match="complex numbers"):
        replace(scan, data=scan.data.astype(complex))
