"""Fan beam on the CPU: slices and stacks of slices, with the exact transpose.

Forward, a fan is what a parallel beam is: rays in the plane. Back, every thread owns a band of the
image and lets all rays cross it with the forward weights.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange

from imagereg.projectors import space_cpu
from imagereg.projectors.joseph_cpu import STEPS, set_out, visit
from imagereg.projectors.layout import OPTIONS, aligned, aligned_zeros, data_slices, interleave
from imagereg.projectors.rays import COUNT, FIRST, FROM, MAJOR, PIXEL, SIGN, STEP, VIEW
from imagereg.projectors.stack_cpu import StackProjector, group

TOGETHER = 4  # views whose data share the second cache with a band of the image


@njit(parallel=True, **OPTIONS)
def back_stack(
    data: Any,
    shape: Any,
    views: Any,
    runs: Any,
    groups: Any,
    major_axis: int,
    point: bool,
    edges: Any,
    columns: int,
    tall: int,
    lanes: int,
    out: Any,
    slices: Any,
    row_step: int,
) -> None:
    """Add the transposed projections of the rays with one major axis to one block of slices.

    data : (views, columns, lanes), flat.
    tall : steps along the major axis that a thread owns at a time, a multiple of `STEPS`.
    out : flat image, the slices of the block at `slices`, a row every `row_step`.
    """
    depth = shape[1] if major_axis == 1 else shape[0]
    width = shape[0] if major_axis == 1 else shape[1]
    line = (width + 3) * lanes
    longest = runs[:, COUNT].max()
    for band in prange((depth + tall - 1) // tall):
        low = band * tall
        high = min(depth, low + tall)
        voxels = aligned(tall * line, data)
        voxels[:] = 0
        weights = aligned(64 * STEPS, data)
        offsets = np.empty(64 * STEPS, np.int32)
        most = 0
        for k in range(groups.size - 1):
            most = max(most, groups[k + 1] - groups[k])
        start, slope = np.zeros((most, longest)), np.zeros((most, longest))
        length = np.zeros((most, longest))
        counts, reached = np.zeros(most, np.int64), np.zeros(most, np.int64)
        sums = aligned(most * longest * lanes, data)
        for k in range(groups.size - 1):
            if runs[groups[k], MAJOR] != major_axis:
                continue
            members = groups[k + 1] - groups[k]
            for member in range(members):
                run = runs[groups[k] + member]
                counts[member] = run[COUNT]
                set_out(views[run[VIEW]], run, point, edges, start[member], slope[member], length[member])
                for ray in range(run[COUNT]):
                    column = run[FIRST] + (ray if run[SIGN] > 0 else run[COUNT] - 1 - ray)
                    mm = data.dtype.type(length[member, ray])
                    source = (run[VIEW] * columns + column) * lanes
                    to = (member * longest + ray) * lanes
                    for lane in range(lanes):
                        sums[to + lane] = mm * data[source + lane]
            for first in range(low, high, STEPS):
                visit(
                    voxels, lanes + (first - low) * line, (line, lanes), width,
                    (first, min(STEPS, high - first)), start[:members], slope[:members], counts[:members],
                    sums, lanes, True, offsets, weights, reached,
                )  # fmt: skip
        for lane in range(slices.size):
            for step in range(high - low):
                for across in range(width):
                    row, column = (across, low + step) if major_axis == 1 else (low + step, across)
                    found = voxels[step * line + (across + 1) * lanes + lane]
                    out[slices[lane] + row * row_step + column] += found


class FanProjector(StackProjector):
    """p(a, s): slices under a fan on a flat detector (see `Projector`).

    Fans so wide that rays graze (see `PlaneRays`) go one ray at a time.
    """

    def _forward(self, image: torch.Tensor, out: torch.Tensor) -> None:
        if self.rays.grazing:
            self._one_by_one(image, out, transposed=False)
        else:
            super()._forward(image, out)

    def _one_by_one(self, image: torch.Tensor, data: torch.Tensor, *, transposed: bool) -> None:
        """Each slice as a volume of a single one."""
        rays = self.rays
        rows, columns = rays.shape
        shape, strides = np.array([columns, rows, 1]), np.array([1, columns, rows * columns])
        edges = np.array([*rays.edges, 1.0])
        views = np.zeros((len(rays.views), 12))
        for place, of in ((space_cpu.PIXEL, PIXEL), (space_cpu.TO_COLUMN, STEP), (space_cpu.FROM, FROM)):
            views[:, place : place + 2] = rays.views[:, of : of + 2]
        slices = image.numpy().reshape(-1)
        lines = data.numpy().reshape(image.shape[0] * image.shape[1], len(views), -1, rays.columns)
        for at, (item, row) in enumerate(np.ndindex(lines.shape[0], lines.shape[2])):
            origin = at * rows * columns
            line = np.ascontiguousarray(lines[item, :, row]).reshape(-1)
            if transposed:
                slabs = 2 * numba.get_num_threads()
                space_cpu.back(
                    line, 0, shape, strides, views, True, edges, 1, rays.columns, slabs, slices, origin
                )
                continue
            space_cpu.forward(slices, origin, shape, strides, views, True, edges, 1, rays.columns, line, 0)
            lines[item, :, row] = line.reshape(-1, rays.columns)

    def _back(self, data: torch.Tensor, out: torch.Tensor) -> None:
        source, target = data.numpy().reshape(-1), out.numpy().reshape(-1)
        target[:] = 0
        rays = self.rays
        if rays.grazing:
            self._one_by_one(out, data, transposed=True)
            return
        slices = self._image_slices(data.shape[0] * data.shape[1])
        starts, view_step = data_slices(self.data_shape, data.shape[0] * data.shape[1])
        shape = np.array(rays.shape, dtype=np.int64)
        groups = group(rays.runs, TOGETHER)
        for first, count, lanes in self._parts(len(slices), source.dtype):
            chosen = slice(first, first + count)
            stack = aligned_zeros(len(rays.views) * rays.columns * lanes, source.dtype)
            interleave(source, starts[chosen], len(rays.views), rays.columns, view_step, 0, 0, lanes, stack)
            for major in (0, 1):
                if (rays.runs[:, MAJOR] == major).any():
                    back_stack(
                        stack, shape, rays.views, rays.runs, groups, major, rays.point, rays.edges,
                        rays.columns, _height(rays.shape, major, lanes * source.itemsize), lanes, target,
                        slices[chosen], rays.shape[1],
                    )  # fmt: skip


def _height(shape: tuple[int, int], major: int, size: int) -> int:
    """Steps that a thread owns: what half of a second cache holds, and some bands for each thread."""
    depth, width = shape[major], shape[1 - major]
    fits = (1 << 19) // (width * size)
    enough = -(-depth // (2 * numba.get_num_threads()))
    return max(1, min(fits, enough) // STEPS) * STEPS
