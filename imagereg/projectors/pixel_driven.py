"""Back-projection voxel by voxel: each takes the filtered data at its own shadow, weighed by distance.

Filtered back-projection needs interpolated values, not the transpose of a ray-driven projector, whose
ripples across the grid it would show.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from imagereg.geometry import Geometry, Volume
from imagereg.geometry.fan import PointSource

_AT_ONCE = 1 << 22  # voxels of a volume that are done together


class Shadows(NamedTuple):
    """Where voxels fall on the detector: ratios of linear functions of (1, column, row, slice).

    `column`, `row` (views, 4): detector column and row, times `depth`; `depth` (views, 4): distance from
    the source along the central ray over that of the axis, 1 for parallel rays.
    """

    column: NDArray[np.float64]
    row: NDArray[np.float64]
    depth: NDArray[np.float64]


def shadows(geometry: Geometry, volume: Volume) -> Shadows:
    """The shadows of `volume`'s voxels; a volume without slices lies in the plane z = 0."""
    shape, edges, centre = (1, *volume.shape)[-3:], (1.0, *volume.edges)[-3:], (*volume.centre, 0.0)[:3]
    source, middle, column, row = geometry.vectors()
    steps = np.diag([edges[2], -edges[1], edges[0]])
    first = np.array(centre) - np.array([shape[2] - 1, shape[1] - 1, shape[0] - 1]) / 2 @ steps
    grid = np.vstack([first, steps])  # the point of voxel 0 and the steps to its neighbours
    beam = np.stack([-np.sin(geometry.angles), np.cos(geometry.angles), 0 * geometry.angles], axis=1)
    one = np.array([1.0, 0.0, 0.0, 0.0])

    def along(direction: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
        return direction @ grid.T - np.sum(origin * direction, axis=1)[:, None] * one

    def on_detector(step: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        unit = step / np.sum(step**2, axis=1)[:, None]
        if not isinstance(geometry, PointSource):
            return along(unit, middle) + (count - 1) / 2 * one
        # Rays from the source, magnified by source_detector / U.
        aside = np.sum((source - middle) * unit, axis=1)[:, None] + (count - 1) / 2
        return geometry.magnification * along(unit, source) + aside * depth

    ones = np.broadcast_to(one, (geometry.views, 4)).copy()
    depth = along(beam, source) / geometry.source_origin if isinstance(geometry, PointSource) else ones
    return Shadows(on_detector(column, geometry.columns), on_detector(row, geometry.rows), depth)


def back_project_pixels(geometry: Geometry, volume: Volume, data: torch.Tensor) -> torch.Tensor:
    """Sum over views of the data at each voxel's shadow, interpolated, over the square of its `depth`.

    Parameters
    ----------
    geometry, volume : the scan and the grid.
    data : (B, C, views, columns), or (B, C, views, rows, columns) for a volume with slices.

    Returns
    -------
    (B, C, *volume.shape), of the type of `data`.
    """
    if data.device.type == "cpu" and not geometry.tilt:
        from imagereg.projectors.fbp_cpu import back_project_on_cpu

        return back_project_on_cpu(geometry, volume, data.contiguous())
    return back_project_anywhere(geometry, volume, data)


def back_project_anywhere(geometry: Geometry, volume: Volume, data: torch.Tensor) -> torch.Tensor:
    """As `back_project_pixels`, by torch alone: on any device and for tilted detectors."""
    seen = shadows(geometry, volume)
    shape = (1, *volume.shape)[-3:]
    rows = geometry.rows if data.ndim == 5 else 1
    items = data.reshape(-1, geometry.views, rows, geometry.columns)
    out = torch.zeros((items.shape[0], *shape), dtype=data.dtype, device=data.device)
    i, j = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64, device=data.device) for n in shape[1:]), indexing="ij"
    )
    for slab in torch.arange(shape[0], dtype=torch.float64, device=data.device).split(
        max(1, _AT_ONCE // i.numel())
    ):
        k = slab[:, None, None].expand(-1, *i.shape)
        at = torch.stack([torch.ones_like(k), j.expand_as(k), i.expand_as(k), k])
        for view in range(geometry.views):
            column, row, depth = (
                torch.tensordot(torch.as_tensor(part[view], device=data.device), at, dims=1) for part in seen
            )
            value = _bilinear(items[:, view], row / depth, column / depth)
            out[:, slab.long()] += value / depth.to(data.dtype) ** 2
    return out.reshape(*data.shape[:2], *volume.shape)


def _bilinear(picture: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Values of (items, rows, columns) between pixels, zero outside; rows matter where there are several."""
    _, rows, columns = picture.shape
    if rows == 1:
        row = torch.zeros_like(row)
    flat = picture.reshape(len(picture), -1)
    result = torch.zeros((len(picture), *row.shape), dtype=picture.dtype, device=picture.device)
    for up in (0, 1):
        for right in (0, 1):
            r, c = row.floor() + up, column.floor() + right
            weight = (1 - (row - r).abs()) * (1 - (column - c).abs())
            inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
            index = (r.clamp(0, rows - 1) * columns + c.clamp(0, columns - 1)).long()
            result += flat[:, index.reshape(-1)].reshape(result.shape) * (weight * inside).to(picture.dtype)
    return result
