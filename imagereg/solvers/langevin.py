"""Langevin chains: steps through a density of images of which only the gradient of the logarithm is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

Gradient = Callable[[torch.Tensor], torch.Tensor]
"""The gradient of log p, in the shape of its argument (B, C, ...)."""

DAMPING = 0.05
"""eta of SK-ROCK, as its authors take it: more widens the strip in which the scheme is stable."""


@dataclass(frozen=True)
class ULA:
    """x <- x + h grad log p(x) + sqrt(2 h) n, n white (unadjusted Langevin algorithm).

    Parameters
    ----------
    step : h of each item, (B, 1, ..., 1); stable below 2 over the largest curvature of -log p.

    References
    ----------
    A. Durmus, E. Moulines, Ann. Appl. Probab. 27 (2017) 1551, doi:10.1214/16-AAP1238.
    """

    step: torch.Tensor

    def __call__(self, x: torch.Tensor, gradient: Gradient) -> torch.Tensor:
        """One step, with draws from torch's own generator."""
        return x + self.step * gradient(x) + (2 * self.step).sqrt() * white(x)


@dataclass(frozen=True)
class SKROCK:
    """A stochastic Runge-Kutta-Chebyshev step of s gradients, stable for about s^2 times the step of `ULA`.

    With Chebyshev polynomials T_j at w0 = 1 + eta / s^2 and w1 = T_s(w0) / T_s'(w0), q = sqrt(2 h) n:
    k_1 = x + (w1 / w0) h grad log p(x + (s w1 / 2) q) + (s w1 / w0) q, and for j = 2..s
    k_j = m_j h grad log p(k_(j-1)) + n_j k_(j-1) + (1 - n_j) k_(j-2), m_j = 2 w1 T_(j-1) / T_j,
    n_j = 2 w0 T_(j-1) / T_j.

    Parameters
    ----------
    step : h of each item, (B, 1, ..., 1).
    stages : s.

    References
    ----------
    M. Pereyra, L. Vargas Mieles, K. Zygalakis, SIAM J. Imaging Sci. 13 (2020) 905, doi:10.1137/19M1283719.
    """

    step: torch.Tensor
    stages: int

    def __call__(self, x: torch.Tensor, gradient: Gradient) -> torch.Tensor:
        """One step, with draws from torch's own generator."""
        s = self.stages
        w0 = 1 + DAMPING / s**2
        values, slopes = _chebyshev(s, w0)
        w1 = values[s] / slopes
        noise = (2 * self.step).sqrt() * white(x)
        before = x
        now = x + w1 / w0 * self.step * gradient(x + s * w1 / 2 * noise) + s * w1 / w0 * noise
        for j in range(2, s + 1):
            ratio = values[j - 1] / values[j]
            n = 2 * w0 * ratio
            before, now = (
                now,
                2 * w1 * ratio * self.step * gradient(now) + n * now + (1 - n) * before,
            )
        return now


def white(like: torch.Tensor) -> torch.Tensor:
    """White noise that is the same for every item, so that an item is drawn alike in any batch."""
    return torch.randn((1, *like.shape[1:]), dtype=like.dtype).to(like.device).expand_as(like)


def _chebyshev(degree: int, w: float) -> tuple[list[float], float]:
    """T_0..T_degree at w > 1, and the derivative of the last one there."""
    values = [1.0, w]
    for _ in range(2, degree + 1):
        values.append(2 * w * values[-1] - values[-2])
    angle = math.acosh(w)
    return values, degree * math.sinh(degree * angle) / math.sinh(angle)
