"""Geometries and grids: values that compare, slice, print, travel, and refuse nonsense."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.geometry import Geometry

ANGLES = np.linspace(0, np.pi, 6, endpoint=False)
DISTANCES = {"source_origin": 100.0, "source_detector": 150.0}
PARALLEL = ir.ParallelBeam(ANGLES, 11, pixel=0.5)
FAN = ir.FanBeam(ANGLES, 11, pixel=0.5, **DISTANCES)
CONE = ir.ConeBeam(ANGLES, 11, pixel=0.5, rows=8, row_pixel=0.25, **DISTANCES)
ALL = [PARALLEL, FAN, CONE]
by_kind = pytest.mark.parametrize("geometry", ALL, ids=lambda g: g.kind)


def _meets(geometry: Any, view: int, point: np.ndarray) -> tuple[float, float]:
    """(column, row) of the detector on which a point's shadow falls, from the vectors alone."""
    source, centre, column, row = (part[view] for part in geometry.vectors())
    ray = source if geometry.kind == "parallel" else point - source
    # point + s ray = centre + c column + r row
    s, c, r = np.linalg.solve(np.stack([-ray, column, row], axis=1), point - centre)
    del s
    return float(c + (geometry.columns - 1) / 2), float(r + (geometry.rows - 1) / 2)


# ---------------------------------------------------------------------- what it means
def test_a_point_falls_at_x_cos_plus_y_sin() -> None:
    x, y = 1.3, -0.8
    for view, a in enumerate(ANGLES):
        column, _ = _meets(PARALLEL, view, np.array([x, y, 0.0]))
        assert (column - 5) * 0.5 == pytest.approx(x * math.cos(a) + y * math.sin(a))


@pytest.mark.parametrize("geometry", [FAN, CONE], ids=["fan", "cone"])
def test_point_sources_magnify(geometry: Any) -> None:
    x, y, z = 1.3, -0.8, 0.6 if geometry.kind == "cone" else 0.0
    assert geometry.magnification == pytest.approx(1.5)
    for view, a in enumerate(ANGLES):
        t, depth = x * math.cos(a) + y * math.sin(a), -x * math.sin(a) + y * math.cos(a)
        scale = 150 / (100 + depth)
        column, row = _meets(geometry, view, np.array([x, y, z]))
        assert (column - 5) * 0.5 == pytest.approx(t * scale)
        assert (row - (geometry.rows - 1) / 2) * geometry.row_edge == pytest.approx(z * scale)


@pytest.mark.parametrize("tilt", [0.0, 0.2])
@pytest.mark.parametrize("kind", [ir.ParallelBeam, ir.ConeBeam])
def test_the_axis_falls_on_the_centre_of_rotation(kind: Any, tilt: float) -> None:
    distances = DISTANCES if kind is ir.ConeBeam else {}
    geometry = kind(
        ANGLES, 11, pixel=0.5, rows=3, axis_offset=0.7, detector_offset=-0.4, tilt=tilt, **distances
    )
    moved = geometry.with_centre(3.25)
    assert moved.centre_of_rotation == pytest.approx(3.25)
    assert moved.detector_offset == geometry.detector_offset
    for scan in (geometry, moved):
        for view in range(scan.views):
            low, high = (np.array(_meets(scan, view, np.array([0, 0, z]))) for z in (-1.0, 1.0))
            part = (1.0 - low[1]) / (high[1] - low[1])  # where the axis' shadow crosses the middle row
            assert (low + part * (high - low))[0] == pytest.approx(scan.centre_of_rotation)


def test_offsets_add_up() -> None:
    jitter = np.stack([np.linspace(-1, 1, 6), np.linspace(0, 2, 6)], axis=1)
    cone = replace(CONE, detector_offset=(0.5, -0.25), shifts=jitter)
    np.testing.assert_allclose(cone.offsets, jitter + np.array([0.5, -0.25]))
    straight, moved = CONE.vectors(), cone.vectors()
    np.testing.assert_allclose(moved.source, straight.source)
    shift = moved.centre - straight.centre
    np.testing.assert_allclose((shift * straight.column).sum(1) / 0.5, cone.offsets[:, 0])
    np.testing.assert_allclose((shift * straight.row).sum(1) / 0.25, cone.offsets[:, 1])
    parallel = replace(PARALLEL, shifts=jitter[:, 0])
    np.testing.assert_allclose(parallel.offsets, jitter * [1, 0])


def test_dimensions_and_shapes() -> None:
    assert (PARALLEL.ndim, PARALLEL.data_shape) == (2, (6, 11))
    assert (replace(PARALLEL, rows=4).ndim, replace(PARALLEL, rows=4).data_shape) == (2, (6, 11))
    assert (replace(PARALLEL, rows=4, tilt=0.1).data_shape) == (6, 4, 11)
    assert replace(PARALLEL, rows=4, shifts=np.ones((6, 2))).ndim == 3
    assert (CONE.ndim, CONE.data_shape) == (3, (6, 8, 11))
    assert CONE.row_edge == 0.25
    assert FAN.row_edge == 0.5
    assert FAN.fan_angle == pytest.approx(math.atan(11 * 0.25 / 150))
    assert replace(FAN, detector_offset=-1.0).fan_angle == pytest.approx(math.atan((11 * 0.25 + 1) / 150))


# ---------------------------------------------------------------------- a value among values
@by_kind
def test_equal_values_are_equal(geometry: Any) -> None:
    same = replace(geometry, angles=list(geometry.angles), columns=np.int64(11), pixel=np.float32(0.5))
    assert same == geometry
    assert hash(same) == hash(geometry)
    assert {geometry: 1}[same] == 1
    assert replace(geometry, detector_offset=[0.0, 0.0]) == geometry
    assert replace(geometry, detector_offset=np.array([0.0])) == geometry
    assert replace(geometry, angles=-geometry.angles) != geometry
    assert replace(geometry, columns=12) != geometry
    assert replace(geometry, shifts=np.zeros(6)) != geometry
    assert geometry != "geometry"
    assert pickle.loads(pickle.dumps(geometry)) == geometry


def test_kinds_differ() -> None:
    assert ir.ConeBeam(ANGLES, 11, **DISTANCES) != ir.FanBeam(ANGLES, 11, **DISTANCES)


@by_kind
def test_nothing_can_be_changed(geometry: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        geometry.columns = 3
    with pytest.raises(ValueError, match="read-only"):
        geometry.angles[0] = 1.0
    angles = np.zeros(3)
    scan = replace(geometry, angles=angles)
    angles[0] = 1.0
    assert scan.angles[0] == 0.0


@by_kind
def test_slices_by_view(geometry: Any) -> None:
    scan = replace(geometry, shifts=np.arange(6.0))
    for index in (slice(None, None, 2), slice(1, -1), [0, 5], np.array([3, 1]), scan.angles > 1.0):
        part = scan[index]
        np.testing.assert_array_equal(part.angles, scan.angles[index])
        np.testing.assert_array_equal(part.shifts, scan.shifts[index])
        np.testing.assert_allclose(part.vectors().centre, scan.vectors().centre[index])
        assert type(part) is type(scan)
    assert len(scan[2]) == 1
    assert scan[2].angles[0] == scan.angles[2]
    assert scan[-1].angles[0] == scan.angles[-1]
    assert scan[::-1][::-1] == scan
    assert len(scan) == scan.views == 6
    assert [view.angles[0] for view in scan] == list(scan.angles)
    for nothing in (slice(6, None), 6, []):
        with pytest.raises(IndexError):
            scan[nothing]


@by_kind
def test_dictionaries_bring_it_back(geometry: Any) -> None:
    scan = replace(geometry, shifts=np.arange(6.0), axis_offset=0.25, detector_offset=0.5)
    plain = json.loads(json.dumps(scan.as_dict()))
    assert Geometry.from_dict(plain) == scan
    assert plain["kind"] == geometry.kind
    assert Geometry.from_dict(geometry.as_dict()) == geometry


def test_dictionaries_with_mistakes_are_refused() -> None:
    plain = CONE.as_dict()
    with pytest.raises(UsageError, match="did you mean 'cone'"):
        Geometry.from_dict({**plain, "kind": "cones"})
    with pytest.raises(UsageError, match="did you mean 'pixel'"):
        Geometry.from_dict({**plain, "pixels": 1.0})
    with pytest.raises(UsageError, match="has no such field"):
        Geometry.from_dict({**PARALLEL.as_dict(), "source_origin": 1.0})
    with pytest.raises(UsageError, match="angles missing"):
        Geometry.from_dict({"kind": "parallel", "columns": 3})


def test_it_prints_what_matters() -> None:
    assert str(PARALLEL) == repr(PARALLEL)
    assert (
        str(PARALLEL)
        == "ParallelBeam 6 views over 150 deg, detector 11 pixels of 0.5 mm, axis on column 5.00"
    )
    assert "8 x 11" in str(CONE)
    assert str(ir.Volume((4, 5, 6), (1, 2, 2))) == "Volume 4 x 5 x 6 voxels of 1 x 2 x 2 mm"
    assert str(ir.Volume((4, 5), 0.5)) == "Volume 4 x 5 voxels of 0.5 mm"


# ---------------------------------------------------------------------- what is refused
@by_kind
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("angles", np.arange(180.0), "looks like degrees"),
        ("angles", [], "finite angles"),
        ("angles", [0.0, math.nan], "finite angles"),
        ("angles", 0.5, "finite angles"),
        ("angles", ["north"], "angles in radians"),
        ("angles", None, "angles"),
        ("columns", 0, "whole number"),
        ("columns", 2.5, "whole number"),
        ("columns", math.nan, "whole number"),
        ("columns", None, "whole number"),
        ("rows", -1, "whole number"),
        ("pixel", 0.0, "positive length"),
        ("pixel", math.inf, "positive length"),
        ("pixel", "wide", "positive length"),
        ("row_pixel", -1.0, "positive length"),
        ("axis_offset", math.nan, "length in mm"),
        ("tilt", math.inf, "radians"),
        ("tilt", 2.0, "radians"),
        ("detector_offset", math.nan, "finite length"),
        ("detector_offset", (1.0, 2.0, 3.0), "finite length"),
        ("detector_offset", "left", "finite length"),
        ("shifts", np.zeros(5), "does not fit 6 views"),
        ("shifts", np.zeros((6, 3)), "does not fit 6 views"),
        ("shifts", np.full(6, math.nan), "not finite"),
        ("shifts", ["a"] * 6, "shifts"),
    ],
)
def test_nonsense_is_one_sentence(geometry: Any, field: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        replace(geometry, **{field: value})
    assert f"{type(geometry).__name__}({field}=" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [ir.FanBeam, ir.ConeBeam])
@pytest.mark.parametrize(
    "distances", [(0, 5), (-1, 5), (6, 5), (math.nan, 5), (5, math.inf), (None, 5), ("a", 5)]
)
def test_distances_must_make_sense(kind: Any, distances: tuple[Any, Any]) -> None:
    with pytest.raises(UsageError, match="0 < source_origin <= source_detector"):
        kind(ANGLES, 11, source_origin=distances[0], source_detector=distances[1])


def test_a_fan_lies_in_one_slice() -> None:
    for fields in ({"tilt": 0.1}, {"detector_offset": (0.0, 1.0)}, {"shifts": np.ones((6, 2))}):
        with pytest.raises(UsageError, match="use ConeBeam"):
            replace(FAN, **fields)
    with pytest.raises(UsageError, match="with_centre"):
        FAN.with_centre(math.nan)
    with pytest.raises(TypeError, match="not a geometry of its own"):
        Geometry(ANGLES, 11).vectors()


# ---------------------------------------------------------------------- grids
def test_grids_are_values() -> None:
    volume = ir.Volume((4, 6), 0.5)
    assert volume == ir.Volume([4, 6], (0.5, 0.5), (0, 0)) == ir.Volume(np.array([4, 6]), np.array([0.5]))
    assert hash(volume) == hash(ir.Volume((4, 6), [0.5, 0.5]))
    assert volume != ir.Volume((6, 4), 0.5)
    assert (volume.ndim, volume.edges, volume.size) == (2, (0.5, 0.5), (2.0, 3.0))
    solid = ir.Volume((3, 4, 6), (2.0, 0.5, 0.25), (1.0, 2.0, 3.0))
    assert solid.size == (6.0, 2.0, 1.5)
    assert solid.slice == ir.Volume((4, 6), (0.5, 0.25), (1.0, 2.0))
    assert volume.slice == volume


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shape": (4,)}, "shape="),
        ({"shape": 4}, "shape="),
        ({"shape": (0, 4)}, "at least 1"),
        ({"shape": (4.5, 4)}, "whole numbers"),
        ({"shape": (4, "b")}, "whole numbers"),
        ({"shape": (1, 2, 3, 4)}, "shape="),
        ({"shape": (4, 4), "voxel": 0.0}, "positive edge"),
        ({"shape": (4, 4), "voxel": (1.0, math.inf)}, "positive edge"),
        ({"shape": (4, 4), "voxel": (1.0, 1.0, 1.0)}, "or 2 of them"),
        ({"shape": (4, 4), "voxel": None}, "positive edge"),
        ({"shape": (4, 4), "centre": (1.0,)}, "2 finite coordinates"),
        ({"shape": (4, 4), "centre": (1.0, math.nan)}, "2 finite coordinates"),
    ],
)
def test_grids_refuse_nonsense(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ir.Volume(**fields)


def test_a_fitting_grid_is_what_the_detector_sees() -> None:
    assert ir.Volume.fit(PARALLEL) == ir.Volume((11, 11), 0.5)
    assert ir.Volume.fit(replace(PARALLEL, rows=4)) == ir.Volume((11, 11), 0.5)
    assert ir.Volume.fit(FAN) == ir.Volume((11, 11), 0.5 / 1.5)
    assert ir.Volume.fit(CONE) == ir.Volume((8, 11, 11), (0.25 / 1.5, 0.5 / 1.5, 0.5 / 1.5))
    assert ir.Volume.fit(PARALLEL, binning=2) == ir.Volume((6, 6), 1.0)
    assert ir.Volume.fit(replace(PARALLEL, rows=4, tilt=0.1)).shape == (4, 11, 11)
    band = ir.Volume.fit(replace(CONE, detector_offset=(0.0, 3.0)))
    assert band.centre == pytest.approx((0.0, 0.0, 2.0))
    for binning in (0, -1, math.nan, math.inf):
        with pytest.raises(UsageError, match="positive number"):
            ir.Volume.fit(PARALLEL, binning=binning)
