"""Slices in the plane on the CPU: how a stack is parted and which kernel does which part."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from imagereg.geometry import Geometry, Volume
from imagereg.projectors import joseph_cpu, single_cpu
from imagereg.projectors.base import Projector
from imagereg.projectors.layout import aligned_zeros, blocks, data_slices, interleave, pad_rows
from imagereg.projectors.rays import MAJOR, PlaneRays, plane_rays
from imagereg.projectors.simd import VECTOR_BYTES

TOGETHER = 16  # views with like directions that visit a tile before the next one


class StackProjector(Projector):
    """Independent slices in the plane, forward by Joseph's method (see `joseph_cpu`, `single_cpu`)."""

    backend = "numba"

    def __init__(self, geometry: Geometry, volume: Volume, reason: str = "") -> None:
        super().__init__(geometry, volume, reason)
        self.rays: PlaneRays = plane_rays(geometry, volume)

    # ------------------------------------------------------------------ where slices lie
    def _image_slices(self, items: int) -> NDArray[np.int64]:
        rows, columns = self.rays.shape
        depth = self.image_shape[0] if len(self.image_shape) == 3 else 1
        return np.arange(items * depth, dtype=np.int64) * rows * columns

    def _parts(self, slices: int, dtype: Any) -> list[tuple[int, int, int]]:
        return blocks(slices, VECTOR_BYTES // np.dtype(dtype).itemsize)

    # ------------------------------------------------------------------ forward
    def _forward(self, image: torch.Tensor, out: torch.Tensor) -> None:
        source, target = image.numpy().reshape(-1), out.numpy().reshape(-1)
        items = image.shape[0] * image.shape[1]
        slices = self._image_slices(items)
        starts, view_step = data_slices(self.data_shape, items)
        for first, count, lanes in self._parts(len(slices), source.dtype):
            if lanes == 1:
                self._forward_single(source, int(slices[first]), target, int(starts[first]), view_step)
                continue
            chosen = slice(first, first + count)
            self._forward_block(source, slices[chosen], lanes, target, starts[chosen], view_step)

    def _forward_single(self, image: Any, at: int, out: Any, to: int, view_step: int) -> None:
        rows, columns = self.rays.shape
        pad = single_cpu.PAD
        for major, (depth, width) in enumerate(((rows, columns), (columns, rows))):
            runs = self.rays.runs[self.rays.runs[:, MAJOR] == major]
            if len(runs) == 0:
                continue
            # The last window may read a vector past the last row.
            padded = np.zeros(depth * (width + 2 * pad) + 64, image.dtype)
            steps = (columns, 1) if major == 0 else (1, columns)
            pad_rows(image, at, depth, width, *steps, pad, padded)
            single_cpu.forward_single(
                padded,
                depth,
                width,
                self.rays.views,
                runs,
                self.rays.point,
                self.rays.edges,
                out,
                to,
                view_step,
            )

    def _forward_block(self, image: Any, at: Any, lanes: int, out: Any, to: Any, view_step: int) -> None:
        rows, columns = self.rays.shape
        width = columns + 2 + (columns + 1) % 2  # odd, so that a column of voxels fills all cache sets
        voxels = aligned_zeros((rows + 3) * width * lanes, image.dtype)
        interleave(image, at, rows, columns, columns, 1, width - columns - 1, lanes, voxels[width * lanes :])
        shape = np.array([rows, columns, width], dtype=np.int64)
        joseph_cpu.forward_stack(
            voxels,
            shape,
            self.rays.views,
            self.rays.runs,
            group(self.rays.runs, TOGETHER),
            self.rays.point,
            self.rays.edges,
            lanes,
            out,
            to,
            view_step,
        )


def group(runs: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """First run of each group of up to `most` runs of one major axis, and the number of runs."""
    share = -(-len(runs) // (4 * numba.get_num_threads()))
    size = max(1, min(most, share))
    starts: list[int] = []
    for major in (0, 1):
        of_axis = np.flatnonzero(runs[:, MAJOR] == major)
        if len(of_axis):
            starts.extend(range(int(of_axis[0]), int(of_axis[-1]) + 1, size))
    return np.array([*starts, len(runs)], dtype=np.int64)
