"""The grid of voxels that a reconstruction lives on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagereg.errors import UsageError

if TYPE_CHECKING:
    from imagereg.geometry.base import Geometry


@dataclass(frozen=True)
class Volume:
    """A regular grid of voxels around the rotation axis.

    The world is x to the right, y up, z along the rotation axis, in mm, with the axis through the
    origin. Row 0 of an image is its top (largest y), column 0 its left (smallest x), slice 0 the
    smallest z: the centre of voxel (k, i, j) lies at

        x = cx + (j - (W-1)/2) vx,   y = cy - (i - (H-1)/2) vy,   z = cz + (k - (D-1)/2) vz.

    Parameters
    ----------
    shape : (H, W) or (D, H, W), numbers of voxels.
    voxel : edge length in mm; one number, or one for each axis in the order of `shape`.
    centre : centre of the grid in mm, in the order (x, y) or (x, y, z).

    Raises
    ------
    UsageError
        When a number of voxels is below one, an edge is not positive, or lengths disagree.
    """

    shape: tuple[int, ...]
    voxel: float | tuple[float, ...] = 1.0
    centre: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shape, voxel, centre = (_numbers(v) for v in (self.shape, self.voxel, self.centre))
        if len(shape) not in (2, 3) or not all(n >= 1 and n == math.floor(n) for n in shape):
            raise UsageError(
                f"Volume(shape={self.shape!r}): give (rows, columns) or (slices, rows, columns), "
                "whole numbers of at least 1."
            )
        voxel = voxel * len(shape) if len(voxel) == 1 else voxel
        if len(voxel) != len(shape) or not all(0 < edge < math.inf for edge in voxel):
            raise UsageError(
                f"Volume(voxel={self.voxel!r}): give one positive edge in mm, or {len(shape)} of them."
            )
        centre = centre or (0.0,) * len(shape)
        if len(centre) != len(shape) or not all(map(math.isfinite, centre)):
            raise UsageError(f"Volume(centre={self.centre!r}): give {len(shape)} finite coordinates in mm.")
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "voxel", voxel)
        object.__setattr__(self, "centre", centre)

    @property
    def ndim(self) -> int:
        """2 for a slice, 3 for a volume."""
        return len(self.shape)

    @property
    def edges(self) -> tuple[float, ...]:
        """Edge lengths of a voxel in mm, in the order of `shape`."""
        assert isinstance(self.voxel, tuple)
        return self.voxel

    @property
    def size(self) -> tuple[float, ...]:
        """Edge lengths of the whole grid in mm, in the order of `shape`."""
        return tuple(n * edge for n, edge in zip(self.shape, self.edges, strict=True))

    @property
    def slice(self) -> Volume:
        """The grid of one slice (z dropped)."""
        return Volume(self.shape[-2:], self.edges[-2:], self.centre[:2])

    @classmethod
    def fit(cls, geometry: Geometry, *, binning: float = 1.0) -> Volume:
        """The grid that the detector sees at its own resolution.

        Voxels have the pixel's size divided by the magnification (times `binning`), and there are as
        many columns as the detector has, so that the field of view of a centred scan is covered. A half
        acquisition, a whole turn with the axis aside, sees as far as the detector's farther edge is from
        the axis in all directions, and the grid is as wide as that.
        Geometries with several rows that are not independent slices get as many slices as rows, around
        the height that the middle of the detector looks at (a band of rows sees its own part).
        """
        if not 0 < binning < math.inf:
            raise UsageError(f"Volume.fit(binning={binning}): give a positive number.")
        edge = geometry.pixel / geometry.magnification * binning
        seen = 2 * geometry.sides[1] / edge if geometry.half_acquired else geometry.columns / binning
        across = max(1, round(seen))
        if geometry.ndim == 2:
            return cls((across, across), edge)
        depth_edge = geometry.row_edge / geometry.magnification * binning
        shape = (max(1, round(geometry.rows / binning)), across, across)
        height = float(geometry.offsets[:, 1].mean()) / geometry.magnification
        return cls(shape, (depth_edge, edge, edge), (0.0, 0.0, height))

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        edges = set(self.edges)
        edge = f"{self.edges[0]:.6g}" if len(edges) == 1 else " x ".join(f"{e:.6g}" for e in self.edges)
        return f"Volume {shape} voxels of {edge} mm"


def _numbers(values: Any) -> tuple[float, ...]:
    """One number or a list of them as floats; NaN, which every check refuses, for anything else."""
    try:
        listed = tuple(values) if isinstance(values, Iterable) else (values,)
        return tuple(float(v) + 0.0 for v in listed)
    except (TypeError, ValueError):
        return (math.nan,)
