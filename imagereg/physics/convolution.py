"""Convolution with borders, and its exact transpose: what blur and downsampling are made of."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import scipy.fft
import torch
from torch.nn import functional

Border: TypeAlias = Literal["reflect", "symmetric", "nearest", "periodic", "zero"]

_PAD_MODES = {"reflect": "reflect", "symmetric": "symmetric", "nearest": "edge", "periodic": "wrap"}
BORDERS = (*_PAD_MODES, "zero")

FFT_FROM = 64
"""Kernels of at least so many entries are applied by FFT, which is then the faster way on a CPU."""


def extend(x: torch.Tensor, widths: tuple[tuple[int, int], ...], border: str) -> torch.Tensor:
    """Continue images beyond their borders: (B, C, *n) to (B, C, *(n + before + after)).

    `widths` holds (before, after) for each spatial axis. abcd becomes cb|abcd|cb with 'reflect',
    ba|abcd|dc with 'symmetric', aa|abcd|dd with 'nearest', cd|abcd|ab with 'periodic' and 00|abcd|00 with
    'zero'. Widths may exceed the image.
    """
    if border == "zero":
        return functional.pad(x, [w for pair in reversed(widths) for w in pair])
    for axis, (before, after) in enumerate(widths, start=2):
        if before or after:
            x = x.index_select(axis, _sources(x.shape[axis], before, after, border).to(x.device))
    return x


def fold(y: torch.Tensor, widths: tuple[tuple[int, int], ...], border: str) -> torch.Tensor:
    """The transpose of `extend`: what lies beyond the borders is added to where it came from."""
    for axis, (before, after) in enumerate(widths, start=2):
        size = y.shape[axis] - before - after
        if border == "zero":
            y = y.narrow(axis, before, size)
        elif before or after:
            shape = [*y.shape]
            shape[axis] = size
            sources = _sources(size, before, after, border).to(y.device)
            y = y.new_zeros(shape).index_add(axis, sources, y)
    return y


def convolve(x: torch.Tensor, kernel: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """y[i] = sum_j kernel[j] x[stride i + n_k - 1 - j]: convolution without borders, every stride-th value.

    (B, C, *n) gives (B, C, *((n - n_k) // stride + 1)); the kernel, (h, w) or (d, h, w), is shared by items
    and channels.
    """
    if kernel.numel() >= FFT_FROM:
        axes, sizes = _transform(x.shape[2:])
        spectrum = torch.fft.rfftn(x, sizes, axes) * torch.fft.rfftn(kernel, sizes)
        full = torch.fft.irfftn(spectrum, sizes, axes)
        keep = [slice(k - 1, n, stride) for n, k in zip(x.shape[2:], kernel.shape, strict=True)]
        return full[(..., *keep)].contiguous()
    conv = functional.conv2d if kernel.ndim == 2 else functional.conv3d
    flat = x.reshape(-1, 1, *x.shape[2:])
    y = conv(flat, kernel.flip(tuple(range(kernel.ndim)))[None, None], stride=stride)
    return y.reshape(*x.shape[:2], *y.shape[2:])


def correlate(y: torch.Tensor, kernel: torch.Tensor, size: torch.Size, stride: int = 1) -> torch.Tensor:
    """The transpose of `convolve` for images of spatial size `size`."""
    by_transform = kernel.numel() >= FFT_FROM
    room = size if by_transform else [n + k - 1 for n, k in zip(size, kernel.shape, strict=True)]
    spread = y.new_zeros((*y.shape[:2], *room))
    spread[(..., *(slice(k - 1, n, stride) for n, k in zip(size, kernel.shape, strict=True)))] = y
    if by_transform:
        axes, sizes = _transform(size)
        spectrum = torch.fft.rfftn(spread, sizes, axes) * torch.fft.rfftn(kernel, sizes).conj()
        full = torch.fft.irfftn(spectrum, sizes, axes)
        return full[(..., *(slice(n) for n in size))].contiguous()
    # torch's transposed convolution takes many times as long as this one, which does the same.
    conv = functional.conv2d if kernel.ndim == 2 else functional.conv3d
    x = conv(spread.reshape(-1, 1, *spread.shape[2:]), kernel[None, None])
    return x.reshape(*y.shape[:2], *x.shape[2:])


def _sources(size: int, before: int, after: int, border: str) -> torch.Tensor:
    """Which pixel of an axis each pixel of the extended axis is taken from."""
    return torch.from_numpy(np.pad(np.arange(size), (before, after), mode=_PAD_MODES[border]))  # type: ignore[call-overload]


def _transform(size: torch.Size | tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes and lengths of the transform: at least the image, so that what wraps is what is cut off."""
    sizes = tuple(scipy.fft.next_fast_len(int(n), real=axis == len(size) - 1) for axis, n in enumerate(size))
    return tuple(range(2, 2 + len(size))), sizes
