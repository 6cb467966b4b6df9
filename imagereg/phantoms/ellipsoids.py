"""Sums of ellipses or ellipsoids: images on any grid, and line integrals along any ray in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagereg.errors import UsageError
from imagereg.geometry import Geometry, Volume

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ellipsoids:
    """f(x) = sum of values of the bodies that x lies in; values add where bodies overlap.

    Parameters
    ----------
    values : (n,) attenuation in 1/mm (or grey values).
    centres : (n, 2) or (n, 3), x, y (and z) in mm.
    axes : (n, 2) or (n, 3) half-axes in mm.
    angles : (n,) rotation in the x-y plane, in radians, from x towards y.

    Raises
    ------
    UsageError
        When lengths disagree, half-axes are not positive or values are not finite.
    """

    values: Array
    centres: Array
    axes: Array
    angles: Array

    def __post_init__(self) -> None:
        for name in ("values", "centres", "axes", "angles"):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))
        n = len(self.values)
        shapes = (self.values.shape, self.angles.shape, self.centres.shape, self.axes.shape)
        if shapes not in (((n,), (n,), (n, d), (n, d)) for d in (2, 3)):
            raise UsageError(
                f"Ellipsoids: values, angles, centres, axes of shapes {', '.join(map(str, shapes))} do not "
                "fit; give (n,), (n,), and (n, 2) or (n, 3) for both of the others."
            )
        finite = all(
            np.isfinite(getattr(self, name)).all() for name in ("values", "centres", "axes", "angles")
        )
        if not finite or not (self.axes > 0).all():
            raise UsageError("Ellipsoids: give finite numbers, and half-axes that are positive.")

    @property
    def ndim(self) -> int:
        """2 for ellipses, 3 for ellipsoids."""
        return int(self.centres.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    def placed(self, volume: Volume, *, radius: float | None = None) -> Ellipsoids:
        """The same scene in mm: coordinates from -1 to 1 fill a disc (ball) in the middle of a grid.

        Parameters
        ----------
        volume : the grid, of as many axes.
        radius : of the disc or ball in mm; of the largest one in the grid where not given.
        """
        if volume.ndim != self.ndim:
            raise UsageError(
                f"a phantom of {self.ndim} axes does not fit {volume}; give a grid of {self.ndim} axes."
            )
        radius = min(volume.size) / 2 if radius is None else radius
        centres = np.asarray(volume.centre) + radius * self.centres
        return Ellipsoids(self.values, centres, radius * self.axes, self.angles)

    def image(self, volume: Volume, *, supersampling: int = 4) -> NDArray[np.float32]:
        """The image on a grid: each voxel is the mean over supersampling^ndim points in it.

        Parameters
        ----------
        volume : the grid, in mm, of as many axes as the bodies.
        supersampling : points along each edge of a voxel; 1 takes its middle.

        Returns
        -------
        (H, W) or (D, H, W), float32, in the unit of the values.
        """
        if volume.ndim != self.ndim:
            raise UsageError(f"Ellipsoids of {self.ndim} axes do not fit {volume}.")
        if int(supersampling) != supersampling or supersampling < 1:
            raise UsageError(f"image(supersampling={supersampling}): give a whole number of at least 1.")
        image = np.zeros(volume.shape)
        for index in range(len(self)):
            self._draw(image, volume, index, int(supersampling))
        return image.astype(np.float32)

    def project(self, geometry: Geometry) -> Array:
        """Line integrals through the bodies, exact for the middle of each detector pixel.

        A ray o + s d with |d| = 1 that passes an ellipsoid, seen from its centre in its half-axes as
        q + s e, cuts a chord of length 2 sqrt((q.e)^2 - (q.q - 1)(e.e)) / (e.e).

        Parameters
        ----------
        geometry : any scan. Ellipses are seen by each row of a parallel or fan beam alike.

        Returns
        -------
        (views, columns) for one row of independent slices, (views, rows, columns) otherwise; no unit.

        Raises
        ------
        UsageError
            When ellipses, which have no height, are to be seen by a cone or a tilted detector.
        """
        if self.ndim == 2 and geometry.ndim == 3:
            raise UsageError(
                f"ellipses have no height and {geometry} looks at volumes; take a phantom of 3 axes."
            )
        rows = 1 if self.ndim == 2 else geometry.rows
        data = np.empty((geometry.views, rows, geometry.columns))
        vectors = geometry.vectors()
        across = np.arange(geometry.columns) - (geometry.columns - 1) / 2
        along = np.arange(rows) - (rows - 1) / 2
        for view in range(geometry.views):
            source, centre, column, row = (part[view] for part in vectors)
            pixels = centre + along[:, None, None] * row + across[None, :, None] * column
            if geometry.kind == "parallel":
                direction = np.broadcast_to(source / np.linalg.norm(source), pixels.shape)
            else:
                # Each row of a fan is a slice of its own, with the source in its plane.
                origin = source if geometry.ndim == 3 else source + along[:, None, None] * row
                direction = pixels - origin
                direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
            data[view] = self._chords(pixels[..., : self.ndim], direction[..., : self.ndim])
        if rows != geometry.rows:
            data = np.broadcast_to(data, (geometry.views, geometry.rows, geometry.columns)).copy()
        return data[:, 0] if geometry.ndim == 2 and geometry.rows == 1 else data

    def _chords(self, points: Array, directions: Array) -> Array:
        total = np.zeros(points.shape[:-1])
        for value, centre, axes, angle in zip(self.values, self.centres, self.axes, self.angles, strict=True):
            q = _turned(points - centre, angle) / axes
            e = _turned(directions, angle) / axes
            qe, ee = (q * e).sum(-1), (e * e).sum(-1)
            root = qe * qe - ((q * q).sum(-1) - 1) * ee
            total += value * 2 * np.sqrt(np.maximum(root, 0)) / ee
        return total

    def _draw(self, image: Array, volume: Volume, index: int, fine: int) -> None:
        """Add one body to the image, within its bounding box."""
        value, centre, axes = self.values[index], self.centres[index], self.axes[index]
        cos, sin = np.cos(self.angles[index]), np.sin(self.angles[index])
        reach = [np.hypot(axes[0] * cos, axes[1] * sin), np.hypot(axes[0] * sin, axes[1] * cos), *axes[2:]]
        window, grids = [], []
        for axis in range(self.ndim):  # x, y, z
            n, edge = volume.shape[-1 - axis], volume.edges[-1 - axis]
            sign = -1 if axis == 1 else 1  # rows run downwards
            middle = sign * (centre[axis] - volume.centre[axis]) / edge + n / 2
            first = max(0, int(np.floor(middle - reach[axis] / edge)))
            last = min(n, int(np.ceil(middle + reach[axis] / edge)) + 1)
            if last <= first:
                return
            at = first + (np.arange((last - first) * fine) + 0.5) / fine
            window.append(slice(first, last))
            grids.append(sign * (at - middle) * edge)
        shape = [len(grid) for grid in reversed(grids)]
        x = grids[0]
        y = grids[1][:, None]
        square = ((cos * x + sin * y) / axes[0]) ** 2 + ((cos * y - sin * x) / axes[1]) ** 2
        if self.ndim == 3:
            square = square + (grids[2][:, None, None] / axes[2]) ** 2
        inside = (square <= 1).reshape([size for n in shape for size in (n // fine, fine)])
        part = inside.mean(axis=tuple(range(1, 2 * self.ndim, 2)))
        image[tuple(reversed(window))] += value * part


def _turned(vectors: Array, angle: float) -> Array:
    """Vectors in axes that are turned by an angle in the x-y plane."""
    cos, sin = np.cos(angle), np.sin(angle)
    turned = vectors.copy()
    turned[..., 0] = cos * vectors[..., 0] + sin * vectors[..., 1]
    turned[..., 1] = cos * vectors[..., 1] - sin * vectors[..., 0]
    return turned


def from_table(rows: ArrayLike) -> Ellipsoids:
    """Bodies from rows of (value, half-axes, centre, angle in degrees), the way tables are printed."""
    table = np.asarray(rows, dtype=np.float64)
    ndim = (table.shape[1] - 2) // 2
    return Ellipsoids(
        table[:, 0], table[:, 1 + ndim : 1 + 2 * ndim], table[:, 1 : 1 + ndim], np.deg2rad(table[:, -1])
    )
