"""Parallel beam on the CPU: slices and stacks of slices, with the exact transpose."""

from __future__ import annotations

import numpy as np
import torch

from imagereg.geometry import Geometry, Volume
from imagereg.projectors import gather_cpu, single_cpu
from imagereg.projectors.layout import aligned_zeros, data_slices, interleave, pad_rows
from imagereg.projectors.stack_cpu import StackProjector


class ParallelProjector(StackProjector):
    """p(a, t): rows of a parallel beam as independent slices (see `Projector`).

    Forward by Joseph's method; back voxel by voxel with the same weights (see `gather_cpu`).
    """

    def __init__(self, geometry: Geometry, volume: Volume, reason: str = "") -> None:
        super().__init__(geometry, volume, reason)
        self._seen, self._pairs = gather_cpu.shadow_table(self.rays)

    def _back(self, data: torch.Tensor, out: torch.Tensor) -> None:
        source, target = data.numpy().reshape(-1), out.numpy().reshape(-1)
        items = data.shape[0] * data.shape[1]
        slices = self._image_slices(items)
        starts, view_step = data_slices(self.data_shape, items)
        views, columns = len(self.rays.views), self.rays.columns
        shape = np.array(self.rays.shape, dtype=np.int64)
        width = self.rays.shape[1]
        for first, count, lanes in self._parts(len(slices), source.dtype):
            if lanes == 1:
                pad = single_cpu.PAD
                rows = np.empty(views * (columns + 2 * pad), source.dtype)
                pad_rows(source, int(starts[first]), views, columns, view_step, 1, pad, rows)
                gather_cpu.back_single(
                    rows, self._seen, self._pairs, columns, shape, target, int(slices[first]), width
                )
                continue
            chosen = slice(first, first + count)
            stack = aligned_zeros(views * (columns + 4) * lanes, source.dtype)
            interleave(source, starts[chosen], views, columns, view_step, 2, 2, lanes, stack)
            gather_cpu.back_stack(
                stack, self._seen, self._pairs, columns, shape, lanes, target, slices[chosen], width
            )
