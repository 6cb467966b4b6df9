"""Cone beam, and parallel beams whose rows are not slices, on the CPU, with the exact transpose."""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from imagereg.geometry import Geometry, Volume
from imagereg.geometry.fan import PointSource
from imagereg.projectors import space_cpu, upright_cpu
from imagereg.projectors.base import Projector
from imagereg.projectors.layout import aligned_zeros, interleave
from imagereg.projectors.rays import MAJOR, plane_rays
from imagereg.projectors.space_cpu import FROM, PIXEL, ROW, SLICE, TO_COLUMN, TO_ROW, X

TOGETHER = 8


class ConeProjector(Projector):
    """p(a, r, s): rays anywhere in a volume (see `Projector`).

    Upright detectors go a vector of rows at a time (`upright_cpu`); tilted ones, and cones so steep that a
    ray passes more than one slice for each voxel across, one ray at a time (`space_cpu`).
    """

    backend = "numba"

    def __init__(self, geometry: Geometry, volume: Volume, reason: str = "") -> None:
        super().__init__(geometry, volume, reason)
        self.rays = plane_rays(geometry, volume)
        self.views = space_rays(geometry, volume)
        self.edges = np.array([*self.rays.edges, volume.edges[0]])
        self.upright = self._is_upright()

    def _is_upright(self) -> bool:
        views, size = self.views, np.abs(self.views).max()
        # Columns lie flat, rows upright.
        if np.abs(views[:, [TO_COLUMN + SLICE, TO_ROW + X, TO_ROW + ROW]]).max() > 1e-12 * size:
            return False
        first, source, up = (views[:, of + SLICE, None] for of in (PIXEL, FROM, TO_ROW))
        if not self.rays.point:
            return not source.any()
        rises = np.abs(first - source + up * np.array([0, self.geometry.rows - 1]))
        columns = np.arange(self.geometry.columns)[None, :]

        def away(axis: int) -> NDArray[np.float64]:
            at, step, source = (views[:, of + axis, None] for of in (PIXEL, TO_COLUMN, FROM))
            return np.abs(at + columns * step - source)

        along = np.stack([away(X), away(ROW)])
        return bool(rises.max() <= along.max(0).min())

    def _lifts(self) -> NDArray[np.float64]:
        source = self.views[:, FROM + SLICE] if self.rays.point else np.zeros(len(self.views))
        lowest = self.views[:, PIXEL + SLICE] - source
        return np.stack([source, lowest, self.views[:, TO_ROW + SLICE]], axis=1)

    def _forward(self, image: torch.Tensor, out: torch.Tensor) -> None:
        source, target = image.numpy().reshape(-1), out.numpy().reshape(-1)
        depth, high, wide = self.volume.shape
        rows, columns = self.geometry.rows, self.geometry.columns
        shape = np.array(self.image_shape, dtype=np.int64)
        for item in range(image.shape[0] * image.shape[1]):
            at, to = item * depth * high * wide, item * int(np.prod(self.data_shape))
            if not self.upright:
                space_cpu.forward(
                    source,
                    at,
                    shape[::-1].copy(),
                    np.array([1, wide, high * wide]),
                    self.views,
                    self.rays.point,
                    self.edges,
                    rows,
                    columns,
                    target,
                    to,
                )
                continue
            tall = self._tall()
            voxels = aligned_zeros((high + 3) * (wide + 3) * tall, source.dtype)
            slices = at + np.arange(depth, dtype=np.int64) * high * wide
            interleave(source, slices, high, wide, wide, 1, 2, tall, voxels[(wide + 3) * tall :])
            upright_cpu.forward(
                voxels,
                shape,
                tall,
                self.rays.views,
                self._lifts(),
                self.rays.runs,
                self.rays.point,
                self.edges,
                rows,
                columns,
                target,
                to,
            )

    def _back(self, data: torch.Tensor, out: torch.Tensor) -> None:
        source, target = data.numpy().reshape(-1), out.numpy().reshape(-1)
        depth, high, wide = self.volume.shape
        rows, columns = self.geometry.rows, self.geometry.columns
        shape = np.array(self.image_shape, dtype=np.int64)
        for item in range(data.shape[0] * data.shape[1]):
            at, to = item * int(np.prod(self.data_shape)), item * depth * high * wide
            if not self.upright:
                target[to : to + depth * high * wide] = 0
                space_cpu.back(
                    source,
                    at,
                    shape[::-1].copy(),
                    np.array([1, wide, high * wide]),
                    self.views,
                    self.rays.point,
                    self.edges,
                    rows,
                    columns,
                    2 * numba.get_num_threads(),
                    target,
                    to,
                )
                continue
            tall = self._tall()
            voxels = aligned_zeros((high + 3) * (wide + 3) * tall, source.dtype)
            for major in (0, 1):
                runs = self.rays.runs[self.rays.runs[:, MAJOR] == major]
                if len(runs):
                    upright_cpu.back(
                        source,
                        at,
                        shape,
                        tall,
                        self.rays.views,
                        self._lifts(),
                        runs,
                        self.rays.point,
                        self.edges,
                        rows,
                        columns,
                        TOGETHER,
                        voxels,
                    )
            inner = voxels[: (high + 3) * (wide + 3) * tall].reshape(high + 3, wide + 3, tall)
            volume = target[to : to + depth * high * wide].reshape(depth, high, wide)
            volume[:] = inner[1 : high + 1, 1 : wide + 1, :depth].transpose(2, 0, 1)

    def _tall(self) -> int:
        """Length of a voxel column with its zeros: whole vectors."""
        return -(-(self.image_shape[0] + upright_cpu.PAD) // 16) * 16


def space_rays(geometry: Geometry, volume: Volume) -> NDArray[np.float64]:
    """(views, 12): first pixel, column step, row step, source or direction; (x, row, slice) in voxels."""
    depth, rows, columns = volume.shape
    edges = np.array([volume.edges[2], -volume.edges[1], volume.edges[0]])
    origin = np.array([columns - 1, rows - 1, depth - 1]) / 2
    source, middle, column, row = geometry.vectors()
    first = middle - (geometry.columns - 1) / 2 * column - (geometry.rows - 1) / 2 * row
    centre = np.array(volume.centre)

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points - centre) / edges + origin

    last = place(source) if isinstance(geometry, PointSource) else source / edges
    return np.concatenate([place(first), column / edges, row / edges, last], axis=1)
