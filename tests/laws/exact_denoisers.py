"""Denoisers E[x | x + sigma e] of distributions where they are known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Denoiser = Callable[[torch.Tensor, Any], torch.Tensor]


def levels(sigma: Any, x: torch.Tensor) -> torch.Tensor:
    """Noise of each item, (B,)."""
    return torch.as_tensor(sigma).to(x).reshape(-1).expand(len(x))


@dataclass(frozen=True)
class Mixture:
    """sum_k p_k N(m_k, C_k), one component being a Gaussian.

    Parameters
    ----------
    shares : p, (K,).
    means : m, (K, n).
    covariances : C, (K, n, n).
    """

    shares: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor

    def log_density(self, x: torch.Tensor, sigma: Any, alpha: Any = 1.0) -> torch.Tensor:
        """log p of alpha x0 + sigma e at x, (B,)."""
        return torch.logsumexp(self._log_parts(x, levels(sigma, x), levels(alpha, x)), 1)

    def __call__(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        """E[x0 | x0 + sigma e = x]."""
        level = levels(sigma, x)
        shares = torch.softmax(self._log_parts(x, level, torch.ones_like(level)), 1)
        total = self._total(level, torch.ones_like(level))
        away = x.flatten(1)[:, None] - self.means
        pulled = torch.linalg.solve(total, away[..., None])
        means = self.means + (self.covariances @ pulled)[..., 0]
        return (shares[..., None] * means).sum(1).reshape(x.shape)

    def _total(self, sigma: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        unit = torch.eye(self.means.shape[1], dtype=self.means.dtype)
        squares = (sigma.square(), alpha.square())
        noise, scale = (square[:, None, None, None] for square in squares)
        return scale * self.covariances + noise * unit

    def _log_parts(self, x: torch.Tensor, sigma: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        away = x.flatten(1)[:, None] - alpha[:, None, None] * self.means
        normal = torch.distributions.MultivariateNormal(
            torch.zeros_like(away), self._total(sigma, alpha).expand(len(x), -1, -1, -1)
        )
        return normal.log_prob(away) + self.shares.log()


def gaussian(mean: torch.Tensor, covariance: torch.Tensor) -> Mixture:
    """N(mean, covariance), (n,) and (n, n)."""
    return Mixture(torch.ones(1, dtype=mean.dtype), mean[None], covariance[None])


def empirical(pictures: torch.Tensor) -> Denoiser:
    """Pictures (N, C, H, W) of equal weight."""

    def denoiser(x: torch.Tensor, sigma: Any) -> torch.Tensor:
        atoms = pictures.to(x).flatten(1)
        distance = torch.cdist(x.flatten(1), atoms).square()
        shares = torch.softmax(-distance / (2 * levels(sigma, x)[:, None].square()), 1)
        return (shares @ atoms).reshape(x.shape)

    return denoiser
