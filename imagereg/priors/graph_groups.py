"""Groups of neighbouring pixels that look alike: the coarse level of a window graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCKS, MOST, WIDTH = 2048, 5, 2.0
"""Blocks of a slice or volume, groups to a block at most, and grey values of a group at first."""
ROOM, CHUNK = 64, 1 << 13
"""Groups that the window of a pixel may touch, and pixels whose windows are looked at together."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Z, the indicators of groups of pixels, and Z^T L^T L Z for a graph Laplacian L.

    A group is what one block of the grid holds of one interval of grey values. L is small on what varies
    slowly within a region, which takes a solver of local steps many of them; sums of Z's columns come close
    to it, and the few thousand equations between the groups are solved exactly.

    Attributes
    ----------
    labels : group of each pixel, (pixels,).
    sizes : pixels of each group, the diagonal of Z^T Z.
    gram : Z^T L^T L Z, a SciPy matrix of compressed columns.
    """

    labels: NDArray[np.int32]
    sizes: NDArray[np.float64]
    gram: Any

    @classmethod
    def of(cls, guide: NDArray[Any], radii: tuple[int, int, int], divisor: float) -> Groups:
        """Groups of one guide (1, G, D, H, W), its differences in units where weights are exp(-|d|^2)."""
        labels, count = _labels(guide[0], radii)
        gram = _gram(guide, labels, count, radii) / divisor**2
        return cls(labels.ravel(), np.bincount(labels.ravel(), minlength=count).astype(float), gram)

    def spread(self, coarse: NDArray[Any]) -> NDArray[Any]:
        """Z v."""
        return np.asarray(coarse[self.labels])

    def gather(self, fine: NDArray[Any]) -> NDArray[np.float64]:
        """Z^T x."""
        return np.bincount(self.labels, weights=fine, minlength=len(self.sizes)).astype(np.float64)

    def factor(self, held: float, eta: float) -> Any:
        """Something whose `solve` multiplies by (held Z^T Z + eta Z^T L^T L Z)^-1."""
        import scipy.sparse
        import scipy.sparse.linalg

        matrix = scipy.sparse.diags(held * self.sizes) + eta * self.gram
        return scipy.sparse.linalg.splu(matrix.tocsc())


def _labels(guide: NDArray[Any], radii: tuple[int, int, int]) -> tuple[NDArray[np.int32], int]:
    """The group of each pixel, (D, H, W), and the number of groups."""
    shape = guide.shape[1:]
    blocks, whole = np.zeros(shape, np.int64), 1
    for axis, (n, edge) in enumerate(zip(shape, _edges(shape, radii), strict=True)):
        along = -(-n // edge)
        index = (np.arange(n) // edge).reshape([-1 if a == axis else 1 for a in range(3)])
        blocks, whole = blocks * along + index, whole * along
    # The median lies amid an interval, so that noise about the commonest value does not part a region.
    centred = guide - np.median(guide, axis=(1, 2, 3), keepdims=True)
    width = WIDTH
    while True:
        keys = blocks
        for channel in centred:
            levels = np.rint(channel / width).astype(np.int64)
            keys = keys * (int(np.ptp(levels)) + 1) + (levels - levels.min())
        found, labels = np.unique(keys, return_inverse=True)
        if len(found) <= MOST * whole:
            return labels.reshape(shape).astype(np.int32), len(found)
        width *= 2


def _edges(shape: tuple[int, ...], radii: tuple[int, int, int]) -> tuple[int, ...]:
    """Edges of the blocks: a window's width or more, and one along axes whose slices are apart."""
    size = 2 * max(radii)
    while True:
        edges = tuple(size if radius else 1 for radius in radii)
        joined = [-(-n // edge) for n, edge, radius in zip(shape, edges, radii, strict=True) if radius]
        if math.prod(joined) <= BLOCKS:
            return edges
        size += 1


def _gram(guide: NDArray[Any], labels: NDArray[np.int32], count: int, radii: tuple[int, int, int]) -> Any:
    """Z^T L^T L Z before division, from some rows of L Z after the other."""
    import scipy.sparse

    from imagereg.priors.graph_kernels import grouped_rows

    depth, height, width = labels.shape
    rows = max(1, CHUNK // width)
    names = np.empty((rows, width, ROOM), np.int32)
    values = np.empty((rows, width, ROOM))
    counts = np.empty((rows, width), np.int32)
    total: Any = scipy.sparse.csc_matrix((count, count))
    for first in range(0, depth * height, rows):
        part = slice(0, min(rows, depth * height - first))
        grouped_rows(guide, labels, first, names[part], values[part], counts[part], radii)
        there = np.arange(ROOM) < counts[part, :, None]
        ends = np.concatenate([[0], np.cumsum(counts[part].ravel(), dtype=np.int64)])
        LZ = scipy.sparse.csr_matrix((values[part][there], names[part][there], ends), (len(ends) - 1, count))
        total = total + (LZ.T @ LZ).tocsc()
    return total
