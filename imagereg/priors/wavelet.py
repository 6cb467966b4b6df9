"""Sparsity in an orthonormal wavelet basis, with its proximal operator in closed form."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as nn

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
            raise UsageError(f"wavelet transform: levels = {levels}, dimensions = {dimensions}; give >= 1 and 2 or 3.")
        self.filters = torch.tensor(_filters(wavelet), dtype=torch.float64)
        self.wavelet, self.levels, self.dimensions = wavelet, levels, dimensions

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
            raise UsageError(f"wavelet transform: {self.dimensions} axes of an image of shape {tuple(x.shape)}.")
        length = self.filters.shape[1]
        sizes = {axis: x.shape[axis] for axis in range(-self.dimensions, 0)}
        blocks = []
        for _ in range(self.levels):
            split = {axis: size for axis, size in sizes.items() if size // 2 * 2 >= max(length, 2)}
            if not split:
                break
            # Axes that are too short stay whole in the block.
            blocks.append(split)
            sizes = {axis: size // 2 if axis in split else size for axis, size in sizes.items()}
        return blocks

    def _split(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        rows, shape, even, rest = _rows(x, axis)
        length = self.filters.shape[1]
        wrapped = torch.cat([rows, rows[:, : length - 2]], dim=1) if length > 2 else rows
        bank = self.filters.to(x)[:, None]
        halves = nn.conv1d(wrapped[:, None], bank, stride=2)
        return _unrow(halves.reshape(-1, even), shape, axis, rest)

    def _join(self, z: torch.Tensor, axis: int) -> torch.Tensor:
        rows, shape, even, rest = _rows(z, axis)
        length = self.filters.shape[1]
        bank = self.filters.to(z)[:, None]
        full = nn.conv_transpose1d(rows.reshape(-1, 2, even // 2), bank, stride=2)[:, 0]
        out = full[:, :even].clone()
        out[:, : length - 2] += full[:, even:]
        return _unrow(out, shape, axis, rest)


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


def _rows(x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Size, int, torch.Tensor]:
    """x as (lines along axis, even number of samples), what `_unrow` needs, and the odd sample left over."""
    moved = x.movedim(axis, -1)
    even = moved.shape[-1] // 2 * 2
    return moved[..., :even].reshape(-1, even), moved.shape, even, moved[..., even:]


def _unrow(rows: torch.Tensor, shape: torch.Size, axis: int, rest: torch.Tensor) -> torch.Tensor:
    part = rows.reshape(*shape[:-1], -1)
    return (torch.cat([part, rest], dim=-1) if rest.shape[-1] else part).movedim(-1, axis)
