"""The Field of Experts as a lower level: filters, weights and smoothings learned from pairs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)

from imagereg.choose.bilevel import LowerLevel
from imagereg.errors import UsageError
from imagereg.priors.field_of_experts import largest_response


class FieldOfExperts(LowerLevel):
    """h = 1/2 ||x - y||^2 + e^t0 sum_k e^a_k sum_i sqrt((c_k * x)_i^2 + e^(2 n_k)).

    theta = (t0, a_1..a_K, n_1..n_K, c_1..c_K), d = 1 + 2K + K size^2; responses c_k * x are taken where the
    filter lies within the image. The mean of each filter is taken off, so that what is learned on images in
    [0, 1] holds for any other zero of the grey scale. Roth, Black, "Fields of Experts", 2009, doi
    10.1007/s11263-008-0197-6; as a bilevel problem Chen, Ranftl, Pock, 2014, doi 10.1109/TIP.2014.2299065.

    Parameters
    ----------
    data : (B, 1, H, W) the noisy images.
    filters : K, number of filters.
    size : edge of a filter in pixels, odd.
    """

    convexity = 1.0

    def __init__(self, data: torch.Tensor, *, filters: int, size: int) -> None:
        self.data, self.filters, self.size = data, filters, size
        self.names = ("Field of Experts",)

    @property
    def dimension(self) -> int:
        """d."""
        return 1 + self.filters * (2 + self.size**2)

    def split(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """t0 (), a (K,), n (K,), c (K, 1, size, size) of a vector theta."""
        k = self.filters
        shape = (k, 1, self.size, self.size)
        c = theta[2 * k + 1 :].reshape(shape)
        c = c - c.mean((-2, -1), keepdim=True)
        return theta[0], theta[1 : k + 1], theta[k + 1 : 2 * k + 1], c

    def first(
        self, *, seed: int | None = None, strength: float = -5.0, smoothing: float = -4.0
    ) -> torch.Tensor:
        """A theta to start from: filters of mean zero and length 1, equal weights and smoothings.

        Parameters
        ----------
        seed : seed of random filters; cosines of rising frequency where not given.
        strength, smoothing : t0 + a_k and n_k, logarithms.
        """
        if seed is None:
            c = cosines(self.filters, self.size)
        else:
            generator = torch.Generator().manual_seed(seed)
            c = torch.randn((self.filters, self.size**2), generator=generator, dtype=torch.float64)
            c -= c.mean(1, keepdim=True)
            c /= c.norm(dim=1, keepdim=True)
        k = self.filters
        head = torch.tensor([strength] + [0.0] * k + [smoothing] * k, dtype=torch.float64)
        return torch.cat((head, c.flatten())).to(self.data)

    def energy(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """h(x, theta)."""
        scale, a, n, c = self.split(theta)
        responses = F.conv2d(x, c)
        lengths = (responses.square() + (2.0 * n).exp()[:, None, None]).sqrt()
        return 0.5 * (x - self.data).square().sum() + scale.exp() * (a.exp() * lengths.sum((0, 2, 3))).sum()

    def smoothness(self, theta: torch.Tensor) -> float:
        """1 + sup over frequencies of sum_k e^(t0 + a_k - n_k) |c_k^|^2, proven."""
        scale, a, n, c = self.split(theta.detach())
        return 1.0 + largest_response(c * (0.5 * (scale + a - n)).exp()[:, None, None, None])


def cosines(count: int, size: int) -> torch.Tensor:
    """The first filters (count, size^2) of the two-dimensional cosine basis but the constant, by frequency.

    Raises
    ------
    UsageError
        When there are not that many.
    """
    if count >= size**2:
        raise UsageError(f"{count} filters of {size} x {size} pixels: there are {size**2 - 1} of mean zero.")
    place = torch.arange(size, dtype=torch.float64)
    lines = torch.stack([torch.cos(math.pi * k * (place + 0.5) / size) for k in range(size)])
    lines /= lines.norm(dim=1, keepdim=True)
    pairs = sorted(((i, j) for i in range(size) for j in range(size)), key=lambda ij: (sum(ij), ij))
    return torch.stack([torch.outer(lines[i], lines[j]).flatten() for i, j in pairs[1 : count + 1]])
