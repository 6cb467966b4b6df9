"""ASTRA's dictionaries against ASTRA's own makers, its projector, and back again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.geometry.astra_format import from_astra, to_astra
from imagereg.phantoms import Ellipsoids

astra = pytest.importorskip("astra")

ANGLES = np.linspace(0, 1.5 * np.pi, 7) + 0.2
FLAT, SOLID = (
    ir.Volume((10, 12), (0.5, 0.5), (1.0, -2.0)),
    ir.Volume((5, 10, 12), (1.0, 0.5, 0.5), (1.0, -2.0, 3.0)),
)
DISTANCES = {"source_origin": 60.0, "source_detector": 90.0}
SCANS = [
    (ir.ParallelBeam(ANGLES, 9, pixel=0.7), FLAT, "parallel"),
    (ir.FanBeam(ANGLES, 9, pixel=0.7, **DISTANCES), FLAT, "fanflat"),
    (ir.ParallelBeam(ANGLES, 9, pixel=0.7, rows=5, row_pixel=0.9), SOLID, "parallel3d"),
    (ir.ConeBeam(ANGLES, 9, pixel=0.7, rows=5, row_pixel=0.9, **DISTANCES), SOLID, "cone"),
]
MOVED = [
    (replace(SCANS[0][0], axis_offset=0.4, detector_offset=0.3, shifts=0.1 * ANGLES), FLAT, "parallel"),
    (replace(SCANS[1][0], axis_offset=0.4, detector_offset=0.3, shifts=0.1 * ANGLES), FLAT, "fanflat"),
    (
        replace(SCANS[2][0], axis_offset=0.4, tilt=0.1, shifts=np.outer(ANGLES, [0.1, -0.2])),
        SOLID,
        "parallel3d",
    ),
    (
        replace(SCANS[3][0], axis_offset=0.4, detector_offset=(0.3, 0.2), tilt=0.1, shifts=0.1 * ANGLES),
        SOLID,
        "cone",
    ),
]
by_kind = pytest.mark.parametrize(("geometry", "volume", "kind"), SCANS, ids=[s[2] for s in SCANS])
moved = pytest.mark.parametrize(("geometry", "volume", "kind"), MOVED, ids=[s[2] for s in MOVED])


def _made_by_astra(geometry: Any, kind: str) -> dict[str, Any]:
    flat, distances = kind in ("parallel", "fanflat"), (60.0, 30.0) if kind in ("fanflat", "cone") else ()
    size = (0.7, 9) if flat else (0.7, 0.9, 5, 9)
    return astra.create_proj_geom(kind, *size, geometry.angles, *distances)


def _same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert set(a) == set(b)
    for key, value in a.items():
        if isinstance(value, dict):
            _same(value, b[key])
        elif isinstance(value, str):
            assert value == b[key]
        else:
            np.testing.assert_allclose(value, b[key], atol=1e-12)


@by_kind
def test_plain_forms_are_those_of_astra(geometry: Any, volume: ir.Volume, kind: str) -> None:
    projection, grid = to_astra(geometry, volume)
    _same(projection, _made_by_astra(geometry, kind))
    vectors, _ = to_astra(geometry, volume, vectors=True)
    theirs = astra.geom_2vec(_made_by_astra(geometry, kind))
    if kind.startswith("parallel"):  # the rays of a parallel beam mean the same both ways
        part = 2 if kind == "parallel" else 3
        theirs["Vectors"][:, :part] *= -1
    _same(vectors, theirs)
    cx, cy = 1.0, -2.0
    window = (cx - 3, cx + 3, cy - 2.5, cy + 2.5)
    made = (
        astra.create_vol_geom(10, 12, *window)
        if volume.ndim == 2
        else astra.create_vol_geom(10, 12, 5, *window, 0.5, 5.5)
    )
    _same(grid, made)


@by_kind
def test_plain_forms_come_back(geometry: Any, volume: ir.Volume, kind: str) -> None:
    assert from_astra(*to_astra(geometry, volume)) == (geometry, volume)
    assert from_astra(_made_by_astra(geometry, kind)) == (geometry, None)


@by_kind
def test_vector_forms_of_astra_come_back(geometry: Any, volume: ir.Volume, kind: str) -> None:
    found, _ = from_astra(astra.geom_2vec(_made_by_astra(geometry, kind)))
    assert type(found) is type(geometry)
    for a, b in zip(found.vectors(), geometry.vectors(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert (found.shifts, found.tilt) == (None, pytest.approx(0.0))


@moved
def test_moved_scans_need_vectors_and_come_back(geometry: Any, volume: ir.Volume, kind: str) -> None:
    projection, grid = to_astra(geometry, volume)
    assert projection["type"] == f"{kind}_vec"
    found, back = from_astra(projection, grid)
    assert back == volume
    for a, b in zip(found.vectors(), geometry.vectors(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert found.columns == geometry.columns
    if kind not in ("parallel", "parallel3d"):
        assert found.axis_offset == pytest.approx(geometry.axis_offset)
    with pytest.raises(UsageError, match="need the _vec form"):
        to_astra(geometry, volume, vectors=False)


@moved
def test_mirrored_scenes_give_the_same_data(geometry: Any, volume: ir.Volume, kind: str) -> None:
    if volume.ndim == 2:
        assert to_astra(geometry, volume, flipped=True)[1] == to_astra(geometry, volume)[1]
        return
    projection, grid = to_astra(geometry, volume, flipped=True)
    straight, upright = to_astra(geometry, volume)
    np.testing.assert_allclose(projection["Vectors"][:, 1::3], -straight["Vectors"][:, 1::3])
    np.testing.assert_allclose(projection["Vectors"][:, 0::3], straight["Vectors"][:, 0::3])
    assert grid["option"]["WindowMinY"] == pytest.approx(-upright["option"]["WindowMaxY"])
    assert grid["option"]["WindowMinZ"] == upright["option"]["WindowMinZ"]


@pytest.mark.parametrize(
    ("geometry", "volume", "kind"), [*SCANS[:2], *MOVED[:2]], ids=["parallel", "fan", "p-vec", "f-vec"]
)
def test_astra_sees_our_images_as_we_do(geometry: Any, volume: ir.Volume, kind: str) -> None:
    """A lopsided scene projected by ASTRA from our image, row 0 at the top, against exact line integrals."""
    scan, grid = replace(geometry, columns=61, pixel=0.3), ir.Volume((180, 160), 0.0625, (1.0, -2.0))
    bodies = Ellipsoids([1.0, 0.7], [[0.0, -3.5], [3.0, 0.5]], [[2.0, 1.2], [1.5, 1.0]], [0.5, 0.0])
    projection, window = to_astra(scan, grid)
    projector = astra.create_projector("line" if kind == "parallel" else "line_fanflat", projection, window)
    number, data = astra.create_sino(bodies.image(grid), projector)
    astra.data2d.delete(number)
    astra.projector.delete(projector)
    exact = bodies.project(scan)
    assert np.abs(exact).max() > 1
    assert np.linalg.norm(data - exact) < 0.02 * np.linalg.norm(exact)


def test_what_is_no_circular_orbit_is_refused() -> None:
    cone, grid = to_astra(SCANS[3][0], SOLID, vectors=True)
    assert from_astra(cone, grid)[1] == SOLID

    def changed(columns: slice | int, change: Any) -> dict[str, Any]:
        table = cone["Vectors"].copy()
        table[:, columns] = change(table[:, columns])
        return {**cone, "Vectors": table}

    climb = np.linspace(0, 5, len(ANGLES))
    helix = {**cone, "Vectors": cone["Vectors"] + np.outer(climb, [0, 0, 1, 0, 0, 1] + [0] * 6)}
    for wrong in (
        helix,
        changed(slice(9, 12), lambda v: -v),  # rows run downwards
        changed(slice(6, 9), lambda v: -v),  # columns run backwards
        changed(slice(0, 3), lambda v: v * np.linspace(1, 2, len(ANGLES))[:, None]),  # a spiral
        changed(slice(6, 9), lambda v: v * np.linspace(1, 2, len(ANGLES))[:, None]),  # a pixel that grows
    ):
        with pytest.raises(UsageError, match="no circular orbit around z") as caught:
            from_astra(wrong)
        assert "\n" not in str(caught.value)
    oblique = to_astra(SCANS[0][0], FLAT, vectors=True)[0]
    oblique["Vectors"][:, :2] += 0.3 * oblique["Vectors"][:, 4:6]
    with pytest.raises(UsageError, match="right angles to the beam"):
        from_astra(oblique)


def test_broken_dictionaries_are_refused() -> None:
    projection, grid = to_astra(*SCANS[3][:2])
    with pytest.raises(UsageError, match="did you mean 'cone'"):
        from_astra({**projection, "type": "cones"})
    for key in projection:
        if key != "type":
            with pytest.raises(UsageError, match=key):
                from_astra({k: v for k, v in projection.items() if k != key})
    with pytest.raises(UsageError, match="GridColCount"):
        from_astra(projection, {k: v for k, v in grid.items() if k != "GridColCount"})
    with pytest.raises(UsageError, match="12"):
        from_astra({**to_astra(*SCANS[3][:2], vectors=True)[0], "Vectors": np.zeros((3, 6))})
    with pytest.raises(UsageError, match="needs a grid of 3 axes"):
        to_astra(SCANS[3][0], FLAT)
    with pytest.raises(UsageError, match="needs a grid of 2 axes"):
        to_astra(SCANS[1][0], SOLID)
    assert from_astra(projection, {"GridRowCount": 4, "GridColCount": 6})[1] == ir.Volume((4, 6))
    assert math.isclose(from_astra(projection)[0].magnification, 1.5)
