"""Geometries to and from the dictionaries of the ASTRA Toolbox, which need no ASTRA to be made or read.

Both speak of the same world, x to the right, y up, z along the axis, and of the same angles. Lengths in
ASTRA have no unit; here they are mm. What differs is the order of arrays:

* ASTRA's 2-D volumes have row 0 at the top (largest y), as ours.
* ASTRA's 3-D volumes are (slices, rows, columns) with y growing with the row: ours have to be flipped
  along the rows. `to_astra(..., flipped=True)` mirrors the scene in y instead, so that our arrays can
  be handed over as they are.
* ASTRA's 3-D projections are (rows, views, columns), ours (views, rows, columns).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from imagereg.errors import UsageError, did_you_mean
from imagereg.geometry.base import Array, Geometry
from imagereg.geometry.cone import ConeBeam
from imagereg.geometry.fan import FanBeam
from imagereg.geometry.parallel import ParallelBeam
from imagereg.geometry.volume import Volume

_KINDS = (
    "parallel",
    "parallel_vec",
    "fanflat",
    "fanflat_vec",
    "parallel3d",
    "parallel3d_vec",
    "cone",
    "cone_vec",
)


def to_astra(
    geometry: Geometry, volume: Volume, *, vectors: bool | None = None, flipped: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A scan and a grid as ASTRA's projection and volume dictionaries (see the module's text).

    Parameters
    ----------
    geometry, volume : in mm and radians; a parallel beam gives a 2-D scan with a 2-D grid.
    vectors : whether to write the `_vec` form; only where offsets, shifts or a tilt need it by default.
    flipped : mirror y in the 3-D forms, so that volumes with row 0 at the top fit as they are.

    Returns
    -------
    projection : 'parallel', 'fanflat', 'parallel3d', 'cone' or one of these with '_vec'.
    grid : with its window in mm.

    Raises
    ------
    UsageError
        When the grid has not the number of axes that the scan needs, or the plain form cannot say it.
    """
    deep = volume.ndim == 3
    if deep != (geometry.ndim == 3) and not (deep and geometry.kind == "parallel"):
        raise UsageError(
            f"to_astra: {geometry} needs a grid of {geometry.ndim} axes and {volume} has {volume.ndim}."
        )
    moved = bool(geometry.axis_offset or geometry.offsets.any() or geometry.tilt)
    vectors = moved or (deep and flipped) if vectors is None else vectors
    if not vectors and (moved or (deep and flipped)):
        raise UsageError("to_astra(vectors=False): offsets, shifts, a tilt or a flip need the _vec form.")
    projection: dict[str, Any] = {"type": _type_of(geometry, deep) + ("_vec" if vectors else "")}
    if deep:
        projection |= {"DetectorRowCount": geometry.rows, "DetectorColCount": geometry.columns}
    else:
        projection |= {"DetectorCount": geometry.columns}
    if vectors:
        parts = geometry.vectors() if deep else [part[:, :2] for part in geometry.vectors()[:3]]
        table = np.concatenate(parts, axis=1)
        if deep and flipped:
            table[:, 1::3] *= -1
        projection["Vectors"] = table
    else:
        if deep:
            projection |= {"DetectorSpacingX": geometry.pixel, "DetectorSpacingY": geometry.row_edge}
        else:
            projection |= {"DetectorWidth": geometry.pixel}
        projection["ProjectionAngles"] = np.array(geometry.angles)
        if isinstance(geometry, FanBeam | ConeBeam):
            projection["DistanceOriginSource"] = geometry.source_origin
            projection["DistanceOriginDetector"] = geometry.source_detector - geometry.source_origin
    return projection, _grid_to_astra(volume, mirrored=deep and flipped)


def from_astra(
    projection: Mapping[str, Any], grid: Mapping[str, Any] | None = None
) -> tuple[Geometry, Volume | None]:
    """The scan, and the grid where one is given, of ASTRA's dictionaries (see the module's text).

    A `_vec` scan must be a circular orbit around z with a flat detector at right angles to the central ray,
    which may be displaced in each view and tilted in its plane. Of a displacement that is the same in
    every view the source's part becomes `axis_offset`, the detector's own `detector_offset`.

    Parameters
    ----------
    projection : an ASTRA projection geometry, its lengths taken for mm.
    grid : an ASTRA volume geometry.

    Raises
    ------
    UsageError
        When the type is unknown, an entry is missing, or the vectors are no circular orbit.
    """
    kind = str(projection.get("type", ""))
    if kind not in _KINDS:
        raise UsageError(f"from_astra: type {kind!r} is none that can be read{did_you_mean(kind, _KINDS)}.")
    volume = None if grid is None else _grid_from_astra(grid)
    try:
        geometry = _circular(kind, projection) if kind.endswith("_vec") else _plain(kind, projection)
    except KeyError as missing:
        raise UsageError(
            f"from_astra: a {kind} geometry without {missing}; make it with ASTRA's creators."
        ) from None
    return geometry, volume


def _type_of(geometry: Geometry, deep: bool) -> str:
    if isinstance(geometry, ParallelBeam):
        return "parallel3d" if deep else "parallel"
    return "cone" if isinstance(geometry, ConeBeam) else "fanflat"


def _plain(kind: str, given: Mapping[str, Any]) -> Geometry:
    values: dict[str, Any] = {"angles": given["ProjectionAngles"]}
    if kind in ("parallel", "fanflat"):
        values |= {"columns": given["DetectorCount"], "pixel": given["DetectorWidth"]}
    else:
        values |= {"columns": given["DetectorColCount"], "rows": given["DetectorRowCount"]}
        across, along = given["DetectorSpacingX"], given["DetectorSpacingY"]
        values |= {"pixel": across, "row_pixel": None if across == along else along}
    if kind.startswith("parallel"):
        return ParallelBeam(**values)
    source, detector = float(given["DistanceOriginSource"]), float(given["DistanceOriginDetector"])
    values |= {"source_origin": source, "source_detector": source + detector}
    return (ConeBeam if kind == "cone" else FanBeam)(**values)


def _circular(kind: str, given: Mapping[str, Any]) -> Geometry:
    """Read an orbit back from its vectors, then check that it gives these vectors."""
    table = np.asarray(given["Vectors"], dtype=np.float64)
    deep = kind in ("parallel3d_vec", "cone_vec")
    if table.ndim != 2 or table.shape[1] != (12 if deep else 6) or not np.isfinite(table).all():
        raise UsageError(
            f"from_astra: Vectors of {kind} must be (views, {12 if deep else 6}) finite numbers."
        )
    nought = np.zeros((len(table), 1))
    parts = np.split(table, 4 if deep else 3, axis=1)
    source, centre, column = parts[:3] if deep else (np.hstack([part, nought]) for part in parts)
    columns = given["DetectorColCount" if deep else "DetectorCount"]
    rows = given["DetectorRowCount"] if deep else 1
    angles = np.arctan2(column[:, 1], column[:, 0])
    angles = np.unwrap(angles) if np.ptp(np.unwrap(angles)) <= 4 * math.pi else angles
    across = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    beam = np.stack([-np.sin(angles), np.cos(angles), 0 * angles], axis=1)
    pixel = float(np.linalg.norm(column, axis=1).mean())
    values: dict[str, Any] = {
        "angles": angles,
        "columns": columns,
        "pixel": pixel,
        "rows": rows,
        "tilt": float(np.arctan2(column[:, 2], np.hypot(column[:, 0], column[:, 1])).mean()),
    }
    if deep:
        row = float(np.linalg.norm(parts[3], axis=1).mean())
        values["row_pixel"] = None if math.isclose(row, pixel) else row
    aside = np.stack([(centre * across).sum(1), centre[:, 2]], axis=1)
    built: type[Geometry] = ParallelBeam
    if kind.startswith("parallel"):
        # No source tells the axis' offset from the detector's: they mean the same for parallel rays.
        source = np.sign((source * beam).sum(1))[:, None] * source / np.linalg.norm(source, axis=1)[:, None]
        centre = centre - (centre * beam).sum(1)[:, None] * beam
    else:
        built = ConeBeam if deep else FanBeam
        values["axis_offset"] = -float((source * across).sum(1).mean())
        aside[:, 0] += values["axis_offset"]
        values["source_origin"] = -float((source * beam).sum(1).mean())
        values["source_detector"] = values["source_origin"] + float((centre * beam).sum(1).mean())
    middle = aside.mean(0)
    middle[np.abs(middle) < 1e-12 * pixel] = 0.0
    values["detector_offset"] = (float(middle[0]), float(middle[1]))
    jitter = aside - middle
    if np.abs(jitter).max() > 1e-9 * pixel:
        values["shifts"] = jitter if deep else jitter[:, 0]
    try:
        geometry = built(**values)
    except UsageError as refusal:
        raise UsageError(f"from_astra: these vectors are no circular orbit around z ({refusal}).") from None
    _confirm(geometry, (source, centre, column, *(parts[3:] if deep else ())))
    return geometry


def _confirm(geometry: Geometry, found: tuple[Array, ...]) -> None:
    """Refuse an orbit that does not give the vectors that it was read from."""
    size = float(getattr(geometry, "source_detector", 1.0))
    scales = (size, max(size, geometry.pixel), geometry.pixel, geometry.row_edge)
    names = ("source", "detector", "column", "row")
    for name, wanted, have, scale in zip(names, geometry.vectors(), found, scales, strict=False):
        worst = np.abs(wanted - have).max(1)
        if worst.max() > 1e-6 * scale:
            raise UsageError(
                "from_astra: these vectors are no circular orbit around z with an upright detector at right "
                f"angles to the beam: the {name} of view {int(worst.argmax())} is {worst.max():.3g} mm away."
            )


def _grid_to_astra(volume: Volume, *, mirrored: bool) -> dict[str, Any]:
    names = ("GridSliceCount", "GridRowCount", "GridColCount")[-volume.ndim :]
    grid: dict[str, Any] = dict(zip(names, volume.shape, strict=True))
    window: dict[str, float] = {}
    for axis, middle, extent in zip("XYZ", volume.centre, reversed(volume.size), strict=False):
        at = -middle if mirrored and axis == "Y" else middle
        window |= {f"WindowMin{axis}": at - extent / 2, f"WindowMax{axis}": at + extent / 2}
    return {**grid, "option": window}


def _grid_from_astra(grid: Mapping[str, Any]) -> Volume:
    axes = "XYZ" if "GridSliceCount" in grid else "XY"
    window = grid.get("option", {})
    counts = {"X": "GridColCount", "Y": "GridRowCount", "Z": "GridSliceCount"}
    try:
        shape = [int(grid[counts[axis]]) for axis in axes]
    except KeyError as missing:
        raise UsageError(
            f"from_astra: a volume geometry without {missing}; make it with create_vol_geom."
        ) from None
    ends = [
        (float(window.get(f"WindowMin{axis}", -n / 2)), float(window.get(f"WindowMax{axis}", n / 2)))
        for axis, n in zip(axes, shape, strict=True)
    ]
    edges = [(high - low) / n for (low, high), n in zip(ends, shape, strict=True)]
    centre = tuple((low + high) / 2 for low, high in ends)
    return Volume(tuple(reversed(shape)), tuple(reversed(edges)), centre)
