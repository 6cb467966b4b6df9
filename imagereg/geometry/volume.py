"""The grid of voxels that a reconstruction lives on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    ValueError
        When a number of voxels is below one, an edge is not positive, or lengths disagree.
    """

    shape: tuple[int, ...]
    voxel: float | tuple[float, ...] = 1.0
    centre: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(
                f"Volume(shape={self.shape}): give (rows, columns) or (slices, rows, columns), "
                "each at least 1."
            )
        given = self.voxel if isinstance(self.voxel, tuple | list) else (self.voxel,) * len(shape)
        voxel = tuple(float(edge) for edge in given)
        if len(voxel) != len(shape) or not all(0 < edge < float("inf") for edge in voxel):
            raise ValueError(
                f"Volume(voxel={self.voxel}): give one positive edge in mm, or {len(shape)} of them."
            )
        centre = tuple(float(c) for c in self.centre) or (0.0,) * len(shape)
        if len(centre) != len(shape):
            raise ValueError(f"Volume(centre={self.centre}): give {len(shape)} coordinates in mm.")
        object.__setattr__(self, "shape", shape)
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
        many columns as the detector has, so that the field of view of a centred scan is covered.
        Geometries with several rows that are not independent slices get as many slices as rows.
        """
        if not binning > 0:
            raise ValueError(f"Volume.fit(binning={binning}): give a positive number.")
        edge = geometry.pixel / geometry.magnification * binning
        across = max(1, round(geometry.columns / binning))
        if geometry.ndim == 2:
            return cls((across, across), edge)
        depth_edge = geometry.row_edge / geometry.magnification * binning
        return cls((max(1, round(geometry.rows / binning)), across, across), (depth_edge, edge, edge))

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        edges = set(self.edges)
        edge = f"{self.edges[0]:.6g}" if len(edges) == 1 else " x ".join(f"{e:.6g}" for e in self.edges)
        return f"Volume {shape} voxels of {edge} mm"
