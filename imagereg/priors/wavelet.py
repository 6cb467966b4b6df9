"""Sparsity in an orthonormal wavelet basis, with its proximal operator in closed form."""

from __future__ import annotations

from functools import lru_cache

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.base import LinearMap, Prior
from imagereg.priors.norms import L1


class WaveletTransform(LinearMap):
    """W x, an orthonormal periodic wavelet transform (W^T W = W W^T = 1) that keeps the image's shape.

    Each level splits the approximation along each axis into halves, low pass first. Where the number of
    samples is odd, the last one is passed on unchanged and takes no part in coarser levels, which keeps
    the transform orthonormal at any size; an axis shorter than the filter is not split further.

    Parameters
    ----------
    wavelet : name of an orthogonal wavelet of PyWavelets ('haar', 'db4', 'sym8', 'coif2').
    levels : number of levels at most.
    dimensions : 2 for slices, 3 for volumes.

    Raises
    ------
    UsageError
        For an unknown wavelet, one that is not orthogonal, or fewer than one level.

    References
    ----------
    S. Mallat, IEEE Trans. Pattern Anal. Mach. Intell. 11 (1989) 674, doi:10.1109/34.192463.
    """

    norm = 1.0
    isometry = True

    def __init__(self, wavelet: str = "db4", *, levels: int = 4, dimensions: int = 2) -> None:
        if levels < 1 or dimensions not in (2, 3):
            raise UsageError(
                f"wavelet transform: levels = {levels}, dimensions = {dimensions}; give >= 1 and 2 or 3."
            )
        self.filters = torch.tensor(_filters(wavelet), dtype=torch.float64)
        self.wavelet, self.levels, self.dimensions = wavelet, levels, dimensions
        self._matrices: dict[tuple[int, torch.dtype, torch.device], torch.Tensor] = {}

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """W x in the shape of x."""
        out = x.clone()
        for sizes in self._blocks(x):
            block = out
            for axis, size in sizes.items():
                block = block.narrow(axis, 0, size)
            part = block
            for axis in sizes:
                part = self._split(part, axis)
            block.copy_(part)
        return out

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """W^T z, the inverse transform."""
        out = z.clone()
        for sizes in reversed(self._blocks(z)):
            block = out
            for axis, size in sizes.items():
                block = block.narrow(axis, 0, size)
            part = block
            for axis in reversed(sizes):
                part = self._join(part, axis)
            block.copy_(part)
        return out

    def details(self, like: torch.Tensor) -> torch.Tensor:
        """1 where a coefficient is a detail, 0 where it is an approximation or was passed on unchanged."""
        mask = torch.zeros(like.shape[-self.dimensions :], dtype=like.dtype, device=like.device)
        for sizes in self._blocks(like):
            halves = mask
            whole = mask
            for axis, size in sizes.items():
                whole = whole.narrow(axis, 0, size // 2 * 2)
                halves = halves.narrow(axis, 0, size // 2)
            whole.fill_(1)
            halves.fill_(0)
        return mask

    def _blocks(self, x: torch.Tensor) -> list[dict[int, int]]:
        """For each level, the axes that it splits and the size of the block along each."""
        if x.ndim < 2 + self.dimensions:
            raise UsageError(
                f"wavelet transform: {self.dimensions} axes of an image of shape {tuple(x.shape)}."
            )
        least = max(self.filters.shape[1], 2)
        sizes = {axis: x.shape[axis] for axis in range(-self.dimensions, 0)}
        blocks = []
        for _ in range(self.levels):
            split = {axis: size for axis, size in sizes.items() if size // 2 * 2 >= least}
            if not split:
                break
            # Axes that are too short stay whole in the block.
            blocks.append(split)
            sizes = {axis: size // 2 if axis in split else size for axis, size in sizes.items()}
        return blocks

    def _split(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        return _apply(self._matrix(x, axis), x, axis)

    def _join(self, z: torch.Tensor, axis: int) -> torch.Tensor:
        return _apply(self._matrix(z, axis).mT, z, axis)

    def _matrix(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        """One level along one axis as a dense matrix, whose product is faster than thin convolutions."""
        key = (x.shape[axis], x.dtype, x.device)
        if key not in self._matrices:
            self._matrices[key] = _one_level(self.filters, x.shape[axis]).to(x)
        return self._matrices[key]


class Wavelet(Prior):
    """sum_k r |(W x)_k| over the coefficients of an orthonormal wavelet transform.

    prox(x) = W^T soft(W x): a threshold in the basis.

    Parameters
    ----------
    strength : r, one number or one an item shaped (B, 1, ...), at least 0.
    wavelet, levels, dimensions : see `WaveletTransform`.
    approximation : penalise the coarsest approximation too; otherwise the local mean is free.

    References
    ----------
    D. Donoho, IEEE Trans. Inf. Theory 41 (1995) 613, doi:10.1109/18.382009.
    """

    operator: WaveletTransform
    outer: L1

    def __init__(
        self,
        strength: Step = 1.0,
        *,
        wavelet: str = "db4",
        levels: int = 4,
        dimensions: int = 2,
        approximation: bool = False,
    ) -> None:
        self.operator = WaveletTransform(wavelet, levels=levels, dimensions=dimensions)
        self.outer = L1(strength) if approximation else Details(strength, self.operator)

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """W^T soft(W x, gamma r)."""
        return self.operator.A_adjoint(self.outer.prox(self.operator.A(x), gamma))


class Details(L1):
    """The l1 norm of the detail coefficients of a wavelet transform.

    Parameters
    ----------
    strength : as in `L1`.
    transform : says which coefficients are details.
    """

    def __init__(self, strength: Step, transform: WaveletTransform) -> None:
        super().__init__(strength)
        self.transform = transform

    def radius(self, z: torch.Tensor) -> torch.Tensor:
        """The strength at details, 0 elsewhere."""
        return super().radius(z) * self.transform.details(z)


@lru_cache(maxsize=32)
def _filters(name: str) -> list[list[float]]:
    """Low- and high-pass analysis filters of an orthogonal wavelet, orthonormal to rounding."""
    import pywt

    try:
        wavelet = pywt.Wavelet(name)
    except ValueError:
        raise UsageError(f"no wavelet is called {name!r}; give one such as 'haar', 'db4', 'sym8'.") from None
    if not wavelet.orthogonal:
        raise UsageError(f"wavelet {name!r} is not orthogonal; give one such as 'haar', 'db4', 'sym8'.")
    low = torch.tensor(wavelet.rec_lo, dtype=torch.float64)
    if len(low) % 2 == 0:
        low = _polished(low)
    signs = torch.tensor([(-1.0) ** k for k in range(len(low))], dtype=torch.float64)
    return [low.tolist(), (signs * low.flip(0)).tolist()]


def _polished(low: torch.Tensor) -> torch.Tensor:
    """The nearest filter that is orthogonal to its even shifts: tables of filters hold about 12 digits."""
    length = len(low)
    for _ in range(4):
        correction = torch.zeros_like(low)
        for shift in range(0, length, 2):
            moved = torch.zeros_like(low)
            moved[shift:] = low[: length - shift]
            back = torch.zeros_like(low)
            back[: length - shift] = low[shift:]
            defect = float(low @ moved) - (1.0 if shift == 0 else 0.0)
            correction += defect * (low / 2 if shift == 0 else (moved + back) / 2)
        low = low - correction
    return low


def _one_level(filters: torch.Tensor, size: int) -> torch.Tensor:
    """The orthonormal matrix of one level of `size` samples: low pass, high pass, an odd sample left over."""
    even, length = size // 2 * 2, filters.shape[1]
    matrix = torch.zeros(size, size, dtype=torch.float64)
    rows = torch.arange(even // 2)[:, None]
    columns = (2 * rows + torch.arange(length)) % even
    matrix[rows, columns] = filters[0].expand(even // 2, length)
    matrix[rows + even // 2, columns] = filters[1].expand(even // 2, length)
    if size > even:
        matrix[-1, -1] = 1.0
    return matrix


def _apply(matrix: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    if axis == -1:
        return x @ matrix.mT
    if axis == -2:
        return matrix @ x
    return (x.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)
