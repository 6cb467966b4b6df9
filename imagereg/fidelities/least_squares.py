"""Least squares: the data term of Gaussian noise, with the same or a different variance for each datum."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Fidelity, Step


class LeastSquares(Fidelity):
    """Half the squared distance from the data, f(u) = 1/2 sum_i w_i (u_i - y_i)^2.

    Parameters
    ----------
    data : y, real, in deepinv's shapes.
    weights : w, inverse variances in the shape of the data (or one that broadcasts to it), at least 0;
        one everywhere where not given. A weight of 0 leaves its datum out.

    Raises
    ------
    UsageError
        When weights are negative, not finite, or do not fit the data.
    """

    def __init__(self, data: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        if weights is not None:
            try:
                weights = weights.to(data).expand_as(data)
            except RuntimeError:
                raise UsageError(
                    f"least squares: weights of shape {tuple(weights.shape)} do not fit data of shape "
                    f"{tuple(data.shape)}; give one weight for each datum."
                ) from None
            if not bool((torch.isfinite(weights) & (weights >= 0)).all()):
                raise UsageError(
                    "least squares: some weights are negative or not finite; give inverse variances."
                )
        self.data = data
        self.weights = weights
        self.lipschitz = 1.0 if weights is None else float(weights.max())

    def weigh(self, r: torch.Tensor) -> torch.Tensor:
        """w r."""
        return r if self.weights is None else self.weights * r

    def fn(self, u: torch.Tensor) -> torch.Tensor:
        """1/2 sum w (u - y)^2 of each item, shape (B,)."""
        r = u - self.data
        return 0.5 * (r * self.weigh(r)).flatten(1).sum(1)

    def grad(self, u: torch.Tensor) -> torch.Tensor:
        """w (u - y)."""
        return self.weigh(u - self.data)

    def curvature(self, u: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """sum w d^2 of each item, shape (B,)."""
        return (direction * self.weigh(direction)).flatten(1).sum(1)

    def prox(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """(u + gamma w y) / (1 + gamma w)."""
        w = gamma if self.weights is None else gamma * self.weights
        return (u + w * self.data) / (1 + w)

    def prox_conjugate(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """w (u - gamma y) / (w + gamma)."""
        shifted = u - gamma * self.data
        return (
            shifted / (1 + gamma) if self.weights is None else self.weights * shifted / (self.weights + gamma)
        )

    def conjugate(self, v: torch.Tensor) -> torch.Tensor:
        """1/2 sum v^2 / w + <v, y> of each item; infinite where v is not 0 and its weight is."""
        if self.weights is None:
            return (v * (0.5 * v + self.data)).flatten(1).sum(1)
        inverse = torch.where(self.weights > 0, 1 / self.weights, torch.inf)
        energy = torch.where(v == 0, torch.zeros_like(v), 0.5 * v * v * inverse)
        return (energy + v * self.data).flatten(1).sum(1)
