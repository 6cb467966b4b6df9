"""Lower levels with smoothed total variation, plain and space-variant, for learning their parameters."""

from __future__ import annotations

import math
from typing import Any

import torch

from imagereg.choose.bilevel import LowerLevel

THIRD = 1.5 / 1.25**2.5
"""sup |phi'''| of phi(t) = sqrt(t^2 + 1), at t = 1/2; for the norm of a vector the same bound holds."""


def differences(x: torch.Tensor) -> torch.Tensor:
    """D x: forward differences along the last two axes, 0 in the last row and column; (2, B, C, H, W)."""
    down = torch.zeros_like(x)
    right = torch.zeros_like(x)
    down[..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    right[..., :-1] = x[..., 1:] - x[..., :-1]
    return torch.stack((down, right))


class SmoothedTV(LowerLevel):
    """h = 1/2 ||A x - y||^2 + ridge/2 ||x||^2 + lambda sum_i sqrt(|D x|_i^2 + nu^2).

    theta = (log lambda, log nu), or (log lambda,) with `smoothing` fixed. |D x|_i is the Euclidean length of
    both differences, or each difference is taken by itself (`isotropic=False`).

    Parameters
    ----------
    data : (B, C, H, W) y; an image for denoising.
    physics : A, a linear deepinv physics that autograd can differentiate; the identity where not given.
    ridge : mu of the problem where A has a null space; must be positive then.
    smoothing : nu, in grey levels; learned too where not given.
    """

    def __init__(
        self,
        data: torch.Tensor,
        *,
        physics: Any = None,
        ridge: float = 0.0,
        smoothing: float | None = None,
        isotropic: bool = True,
    ) -> None:
        self.data = data
        self.physics, self.ridge, self.isotropic = physics, ridge, isotropic
        self._smoothing = smoothing
        self.names = ("log strength",) if smoothing is not None else ("log strength", "log smoothing")
        self.convexity = ridge + (1.0 if physics is None else 0.0)
        if self.convexity <= 0:
            raise ValueError("a physics other than the identity needs ridge > 0: without it mu may be 0.")
        self._norm = 1.0 if physics is None else _squared_norm(physics, self.start())

    def start(self) -> torch.Tensor:
        """y, or A^T y scaled to fit."""
        if self.physics is None:
            return self.data.clone()
        back = self.physics.A_adjoint(self.data)
        forward = self.physics.A(back)
        return back * ((forward * self.data).sum() / forward.square().sum())

    def smoothing(self, theta: torch.Tensor) -> torch.Tensor | float:
        """nu."""
        return self._smoothing if self._smoothing is not None else theta[1].exp()

    def energy(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """h(x, theta)."""
        return self._data_term(x) + theta[0].exp() * self._lengths(x, self.smoothing(theta)).sum()

    def smoothness(self, theta: torch.Tensor) -> float:
        """||A||^2 + ridge + 8 lambda / nu."""
        return self._norm + self.ridge + 8.0 * math.exp(theta[0]) / float(self.smoothing(theta))

    def lipschitz(self, x: torch.Tensor, theta: torch.Tensor) -> tuple[float, float] | None:
        """L_H = lambda ||D||^2 max_i ||D_i|| sup|phi'''| / nu^2 and L_J from its columns."""
        strength, nu = math.exp(theta[0]), float(self.smoothing(theta))
        row = math.sqrt(3.0 if self.isotropic else 2.0)
        hessian = strength * 8.0 * row * THIRD / nu**2
        columns = 1 if self._smoothing is not None else 2
        return hessian, math.sqrt(columns) * 8.0 * strength / nu

    def _data_term(self, x: torch.Tensor) -> torch.Tensor:
        residual = (x if self.physics is None else self.physics.A(x)) - self.data
        term = 0.5 * residual.square().sum()
        return term + 0.5 * self.ridge * x.square().sum() if self.ridge else term

    def _lengths(self, x: torch.Tensor, nu: torch.Tensor | float) -> torch.Tensor:
        squares = differences(x).square()
        if self.isotropic:
            squares = squares.sum(0)
        return (squares + nu**2).sqrt()


class SmoothedSpaceVariantTV(SmoothedTV):
    """h = 1/2 ||A x - y||^2 + ridge/2 ||x||^2 + lambda sum_i w_i sqrt(|D x|_i^2 + nu^2).

    w_i = (eta / sqrt(eta^2 + |D x~|_i^2))^(1 - p); theta = (log lambda, log eta, logit p).

    Parameters
    ----------
    pre_estimate : (B, C, H, W) x~, in the grey range of the results.
    smoothing : nu, in grey levels.
    """

    def __init__(
        self,
        data: torch.Tensor,
        pre_estimate: torch.Tensor,
        *,
        smoothing: float,
        physics: Any = None,
        ridge: float = 0.0,
    ) -> None:
        super().__init__(data, physics=physics, ridge=ridge, smoothing=smoothing)
        self.names = ("log strength", "log eta", "logit p")
        self._squares = differences(pre_estimate).square().sum(0)

    def weights(self, theta: torch.Tensor) -> torch.Tensor:
        """w (B, C, H, W), in (0, 1]."""
        flatness = 1.0 / (1.0 + self._squares * (-2.0 * theta[1]).exp())
        return flatness ** (0.5 * (1.0 - torch.sigmoid(theta[2])))

    def energy(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """h(x, theta)."""
        lengths = self._lengths(x, self.smoothing(theta))
        return self._data_term(x) + theta[0].exp() * (self.weights(theta) * lengths).sum()

    def lipschitz(self, x: torch.Tensor, theta: torch.Tensor) -> tuple[float, float] | None:
        """As for TV, each column of J with the largest |dw/dtheta|."""
        strength, nu = math.exp(theta[0]), float(self.smoothing(theta))
        hessian = strength * 8.0 * math.sqrt(3.0) * THIRD / nu**2
        p = torch.sigmoid(theta[2])
        ratio = self._squares * (-2.0 * theta[1]).exp()
        w = self.weights(theta)
        by_eta = float((w * (1 - p) * ratio / (1 + ratio)).max())
        by_p = float((w * 0.5 * torch.log1p(ratio) * p * (1 - p)).max())
        return hessian, 8.0 * strength / nu * math.sqrt(1.0 + by_eta**2 + by_p**2)


def _squared_norm(physics: Any, like: torch.Tensor) -> float:
    """||A||^2 by 60 power iterations, enlarged by 2 % because they approach it from below."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(like.shape, dtype=like.dtype, generator=generator).to(like.device)
    value = 1.0
    with torch.no_grad():
        for _ in range(60):
            x = physics.A_adjoint(physics.A(x / x.norm()))
            value = float(x.norm())
    return 1.02 * value
