"""Frequencies of sampled axes, and linear maps that multiply each frequency by a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from imagereg.errors import UsageError

Boundary = Literal["periodic", "neumann"]
"""What lies beyond the edge: the other edge ('periodic'), or the mirror image ('neumann')."""


class FrequencyGrid:
    """The frequencies of some axes of a tensor, and the maps F^-1 diag(h) F for real and even symbols h.

    'periodic' is the discrete Fourier transform, of frequencies ω = 2πk/n. 'neumann' is the cosine transform
    (DCT-II), of frequencies ω = πk/n, done as the Fourier transform of the even extension to 2n samples.
    Both transforms are orthonormal, so the maps are symmetric and <r, F^-1 diag(h) F r> is a spectral sum.

    Parameters
    ----------
    shape : shape of the tensors, deepinv's (B, C, ...).
    axes : the axes to transform; negative numbers count from the end.
    boundary : 'periodic' or 'neumann'.

    Raises
    ------
    UsageError
        For axes that the tensors do not have, or an unknown boundary.
    """

    def __init__(self, shape: Sequence[int], axes: Sequence[int], boundary: Boundary = "periodic") -> None:
        ndim = len(shape)
        positions = sorted(axis % ndim for axis in axes if -ndim <= axis < ndim)
        if not axes or len(positions) != len(axes) or len(set(positions)) != len(positions):
            raise UsageError(f"axes {tuple(axes)}: give distinct axes of data of {ndim} dimensions.")
        if boundary not in ("periodic", "neumann"):
            raise UsageError(f"boundary {boundary!r}: write periodic or neumann.")
        self.shape = tuple(shape)
        self.axes = tuple(positions)
        self.boundary = boundary
        self.lengths = tuple(int(shape[axis]) for axis in positions)
        self._doubling = 2 if boundary == "neumann" else 1

    def symbol(
        self, function: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """h = function(|ω|²) on this grid, with ω in radians per sample.

        Returns
        -------
        half : h laid out for `multiply`, in the dtype and on the device of `like`.
        full : h on every frequency of the orthonormal transform, float64, each once: its mean is the
            trace of the map over its size.
        """
        full = function(self._squared(half=False))
        half = function(self._squared(half=True))
        layout = [1] * len(self.shape)
        for axis, length in zip(self.axes, half.shape, strict=True):
            layout[axis] = length
        return half.reshape(layout).to(like), full

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        """F x in the layout of half spectra, not normalised (of the even extension for 'neumann')."""
        for axis in self.axes if self.boundary == "neumann" else ():
            x = torch.cat((x, x.flip(axis)), axis)
        return torch.fft.rfftn(x, dim=self.axes)

    def inverse(self, spectrum: torch.Tensor) -> torch.Tensor:
        """The inverse of `transform`."""
        sizes = [length * self._doubling for length in self.lengths]
        y = torch.fft.irfftn(spectrum, s=sizes, dim=self.axes)
        for axis, length in zip(self.axes, self.lengths, strict=True):
            y = y.narrow(axis, 0, length) if self.boundary == "neumann" else y
        return y

    def multiply(self, x: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """F^-1 (half * F x), for a symbol from `symbol`."""
        return self.inverse(self.transform(x) * half)

    def symbol_of(
        self, linear: Callable[[torch.Tensor], torch.Tensor], like: torch.Tensor
    ) -> torch.Tensor | None:
        """The symbol h of a linear map that this transform diagonalises, half layout; None if it does not.

        h = F(A e) / F(e) for the unit image e at the first sample, checked on noise: A x = F^-1 (h F x).
        """
        unit = torch.zeros_like(like[:1])
        corner = [slice(None)] * unit.ndim
        for axis in self.axes:
            corner[axis] = slice(0, 1)
        unit[tuple(corner)] = 1
        below, above = self.transform(unit), self.transform(linear(unit))
        # Even extensions have no component at half the sampling rate, so that any h will do there.
        present = below.abs() > 1e-6
        h = torch.where(present, above / torch.where(present, below, torch.ones_like(below)), 0.0)
        noise = torch.randn(unit.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
            unit
        )
        image = linear(noise)
        if image.shape != noise.shape:
            return None
        error = (image - self.multiply(noise, h)).norm()
        return h if float(error) <= 100 * torch.finfo(unit.dtype).eps ** 0.75 * float(image.norm()) else None

    def power(self, x: torch.Tensor) -> torch.Tensor:
        """|F x|² with F orthonormal and every frequency once, in the shape of x (float64)."""
        x = x.double()
        if self.boundary == "periodic":
            return torch.fft.fftn(x, dim=self.axes, norm="ortho").abs().square()
        for axis, length in zip(self.axes, self.lengths, strict=True):
            rows = torch.arange(length, dtype=torch.float64, device=x.device)
            matrix = torch.cos(math.pi / length * torch.outer(rows, rows + 0.5)) * math.sqrt(2 / length)
            matrix[0] /= math.sqrt(2)
            x = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
        return x.square()

    def squared_frequencies(self) -> torch.Tensor:
        """|ω|² of every frequency in the layout of `power`, broadcastable to the data (float64)."""
        layout = [1] * len(self.shape)
        for axis, length in zip(self.axes, self.lengths, strict=True):
            layout[axis] = length
        return self._squared(half=False).reshape(layout)

    def _frequencies(self, *, half: bool) -> list[torch.Tensor]:
        found = []
        for position, length in enumerate(self.lengths):
            if half:
                whole = length * self._doubling
                last = position == len(self.lengths) - 1
                cycles = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(whole, dtype=torch.float64)
            elif self.boundary == "neumann":
                cycles = torch.arange(length, dtype=torch.float64) / (2 * length)
            else:
                cycles = torch.fft.fftfreq(length, dtype=torch.float64)
            found.append(2 * math.pi * cycles)
        return found

    def _squared(self, *, half: bool) -> torch.Tensor:
        frequencies = self._frequencies(half=half)
        total = torch.zeros([1] * len(frequencies), dtype=torch.float64)
        for axis, omega in enumerate(frequencies):
            layout = [1] * len(frequencies)
            layout[axis] = omega.numel()
            total = total + omega.square().reshape(layout)
        return total
