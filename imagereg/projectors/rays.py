"""The rays of a scan in the coordinates of a grid: what the kernels walk along.

Joseph's method steps along the grid axis that a ray follows most closely (its major axis) and
interpolates linearly along the other (P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192,
doi:10.1109/TMI.1982.4307572). Along the major axis a ray is at `start + step * slope`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.geometry import Geometry, Volume
from imagereg.geometry.fan import PointSource

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Columns of the tables that kernels read: integers, which numba compiles into the code.
VIEW, MAJOR, FIRST, COUNT, SIGN = range(5)
"""Of a run: view, major axis, first detector column, number of columns, sense along the grid."""
PIXEL, STEP, FROM = 0, 2, 4
"""Of a view, each with a column and a row of the grid: first pixel, step, direction or source."""
COLUMN, ROW = 0, 1
WIDTH, HEIGHT, DEPTH = 0, 1, 2
"""Of the edges of a voxel."""


class PlaneRays(NamedTuple):
    """The rays of every view in the plane of a slice, in voxels (column and row of the grid).

    `views` (views, 6): column and row of the first detector pixel, of the step to the next one, and of
    the ray's direction (parallel beam) or of the source. `runs` (runs, 5): view, major axis (0 rows,
    1 columns), first detector column, number of columns, and +1 or -1 as the place on the grid grows or
    falls with the detector column; runs of like direction are neighbours. `edges`: width and height of
    a voxel in mm. `grazing`: whether some rays of a fan pass the source's own row or column of the grid
    while stepping along it, so that neighbours cross; only very wide fans do.
    """

    views: Floats
    runs: Integers
    edges: Floats
    point: bool
    columns: int
    shape: tuple[int, int]
    grazing: bool


def plane_rays(geometry: Geometry, volume: Volume) -> PlaneRays:
    """The rays of `geometry` in the slices of `volume`.

    Raises
    ------
    UsageError
        Where the grid reaches behind the source of a fan.
    """
    rows, columns = volume.shape[-2:]
    height, width = volume.edges[-2:]
    centre = np.array([*volume.centre[:2], 0.0])
    source, middle, step, _ = geometry.vectors()
    first = middle - (geometry.columns - 1) / 2 * step
    point = isinstance(geometry, PointSource)

    def place(points: Floats) -> Floats:
        across = (points[:, 0] - centre[0]) / width + (columns - 1) / 2
        down = (centre[1] - points[:, 1]) / height + (rows - 1) / 2
        return np.stack([across, down], axis=1)

    def direction(vectors: Floats) -> Floats:
        return np.stack([vectors[:, 0] / width, -vectors[:, 1] / height], axis=1)

    if point:
        refuse_behind_source(geometry, volume)
    last = place(source) if point else direction(source)
    views = np.concatenate([place(first), direction(step), last], axis=1)
    runs = _runs(views, point, geometry.columns, (rows, columns))
    # The source's place along the major axis of each run: its row (0) or column (1) of the grid.
    along = views[runs[:, VIEW], FROM + 1 - runs[:, MAJOR]]
    depth = np.array([rows, columns])[runs[:, MAJOR]]
    grazing = point and bool(((along > -1) & (along < depth)).any())
    edges = np.array([width, height])
    return PlaneRays(views, runs, edges, point, geometry.columns, (rows, columns), grazing)


def refuse_behind_source(geometry: Geometry, volume: Volume) -> None:
    """Raise a UsageError where a part of `volume` is not between the source and what it lights."""
    source = geometry.vectors().source
    beam = np.stack([-np.sin(geometry.angles), np.cos(geometry.angles)], axis=1)
    height, width = volume.size[-2:]
    for across in (-0.5, 0.5):
        for up in (-0.5, 0.5):
            corner = np.array([volume.centre[0] + across * width, volume.centre[1] + up * height])
            if float(np.min(np.sum((corner - source[:, :2]) * beam, axis=1))) <= 0:
                raise UsageError(
                    f"{type(geometry).__name__}: the grid of {width:.4g} x {height:.4g} mm reaches behind "
                    "the source; give a smaller Volume or a larger source_origin."
                )


def _runs(views: Floats, point: bool, columns: int, shape: tuple[int, int]) -> Integers:
    """Detector columns of each view, parted where the major axis of the rays changes."""
    found: list[tuple[float, list[int]]] = []
    place = np.arange(columns)
    for view, (across, down, step_across, step_down, last_across, last_down) in enumerate(views):
        u, w = across + place * step_across, down + place * step_down
        du = u - last_across if point else np.full(columns, last_across)
        dw = w - last_down if point else np.full(columns, last_down)
        along_columns = np.abs(du) >= np.abs(dw)
        cuts = np.flatnonzero(np.diff(along_columns)) + 1
        for first, end in zip([0, *cuts], [*cuts, columns], strict=True):
            major = int(along_columns[first])
            ends = np.array([first, end - 1])
            slope = (dw / du if major else du / dw)[ends]
            start = (w - u * dw / du if major else u - w * du / dw)[ends]
            middle = (shape[major] - 1) / 2
            at = start + slope * middle
            sign = 1 if at[1] >= at[0] else -1
            found.append((float(slope.mean()) + 4 * major, [view, major, int(first), int(end - first), sign]))
    found.sort(key=lambda item: item[0])
    return np.array([run for _, run in found], dtype=np.int64)
