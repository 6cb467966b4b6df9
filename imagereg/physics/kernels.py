"""Blur kernels: point-spread functions that sum to one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from imagereg.errors import UsageError


def gaussian_kernel(std: float | Sequence[float], *, ndim: int = 2, truncate: float = 4.0) -> torch.Tensor:
    """A Gaussian, each pixel holding its integral over that pixel, normalised to sum one.

    k[i] = (erf((i + 1/2) / (s sqrt 2)) - erf((i - 1/2) / (s sqrt 2))) / 2 along every axis: exact for
    narrow kernels too, where sampling the density is not.

    Parameters
    ----------
    std : standard deviation in pixels; one number, or one for each axis.
    ndim : number of axes where `std` is one number.
    truncate : half-width in standard deviations.

    Returns
    -------
    (h, w) or (d, h, w), odd sizes, float64.

    Raises
    ------
    UsageError
        When a standard deviation or `truncate` is not positive.
    """
    deviations = tuple(std) if isinstance(std, Sequence) else (std,) * ndim
    if len(deviations) not in (2, 3) or not all(0 < s < math.inf for s in deviations) or not truncate > 0:
        raise UsageError(
            f"gaussian_kernel(std={std}, truncate={truncate}): give positive numbers, for 2 or 3 axes."
        )
    axes = []
    for s in deviations:
        radius = max(1, math.ceil(truncate * s))
        edges = (torch.arange(2 * radius + 2, dtype=torch.float64) - radius - 0.5) / (s * math.sqrt(2))
        axes.append(torch.erf(edges).diff())
    return _normalised(_outer(axes))


def disc_kernel(radius: float, *, ndim: int = 2, subsamples: int = 16) -> torch.Tensor:
    """A uniform disc (ball in 3-D), the blur of a lens out of focus; edge pixels hold the part covered.

    Parameters
    ----------
    radius : in pixels.
    ndim : 2 or 3.
    subsamples : points along each edge of a pixel where the coverage is counted.

    Returns
    -------
    (n, n) or (n, n, n), n odd, float64.

    Raises
    ------
    UsageError
        When the radius is not positive.
    """
    if ndim not in (2, 3) or not 0 < radius < math.inf:
        raise UsageError(
            f"disc_kernel(radius={radius}, ndim={ndim}): give a positive radius in pixels, 2 or 3 axes."
        )
    half = max(0, math.ceil(radius - 0.5))
    n, fine = 2 * half + 1, (2 * half + 1) * subsamples
    points = (torch.arange(fine, dtype=torch.float64) + 0.5) / subsamples - n / 2
    square = sum(points.reshape([-1 if a == b else 1 for b in range(ndim)]) ** 2 for a in range(ndim))
    inside = (torch.as_tensor(square) <= radius**2).double()
    inside = inside.reshape(*(size for _ in range(ndim) for size in (n, subsamples)))
    return _normalised(inside.mean(dim=tuple(range(1, 2 * ndim, 2))))


def motion_kernel(length: float, angle: float = 0.0, *, subsamples: int = 16) -> torch.Tensor:
    """A straight line of even brightness: uniform motion while the shutter is open.

    The line is shared out between the four nearest pixels of each of its points (bilinearly), so that
    its length and direction need not be whole pixels.

    Parameters
    ----------
    length : in pixels.
    angle : direction in radians; 0 along the columns, pi/2 upwards.
    subsamples : points for each pixel of length.

    Returns
    -------
    (h, w), odd sizes, float64.

    Raises
    ------
    UsageError
        When the length is negative or the angle is not finite.
    """
    if not 0 <= length < math.inf or not math.isfinite(angle):
        raise UsageError(
            f"motion_kernel(length={length}, angle={angle}): give a length in pixels and radians."
        )
    count = max(1, math.ceil(length * subsamples))
    along = ((torch.arange(count, dtype=torch.float64) + 0.5) / count - 0.5) * length
    across = [-math.sin(angle), math.cos(angle)]  # rows run downwards
    place = torch.stack([c * along if abs(c) > 1e-12 else torch.zeros_like(along) for c in across])
    half = [math.ceil(float(p.abs().max())) for p in place]
    kernel = torch.zeros(2 * half[0] + 1, 2 * half[1] + 1, dtype=torch.float64)
    corner = place.floor()
    part = place - corner
    for down in (0, 1):
        for right in (0, 1):
            weight = (part[0] if down else 1 - part[0]) * (part[1] if right else 1 - part[1])
            row = (corner[0].long() + half[0] + down).clamp_max(kernel.shape[0] - 1)
            column = (corner[1].long() + half[1] + right).clamp_max(kernel.shape[1] - 1)
            kernel.index_put_((row, column), weight, accumulate=True)
    return _normalised(kernel)


def _outer(axes: list[torch.Tensor]) -> torch.Tensor:
    product = axes[0]
    for axis in axes[1:]:
        product = product[..., None] * axis
    return product


def _normalised(kernel: torch.Tensor) -> torch.Tensor:
    return kernel / kernel.sum()
