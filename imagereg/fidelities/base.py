"""What every data term offers."""

from __future__ import annotations

from typing import TypeAlias

import torch

Step: TypeAlias = float | torch.Tensor
"""A step size: one number, or one for each item or entry, in a shape that broadcasts."""


def align(step: Step, like: torch.Tensor) -> Step:
    """A step of one number an item in as many axes as `like` has; anything else as it is."""
    if (
        isinstance(step, torch.Tensor)
        and step.ndim
        and step.ndim != like.ndim
        and step.numel() == step.shape[0]
    ):
        return step.reshape(-1, *[1] * (like.ndim - 1))
    return step


class Fidelity:
    """A convex function f of u = A x that is small where u explains the data.

    Attributes
    ----------
    data : y, in deepinv's shapes.
    lipschitz : Lipschitz constant of the gradient, `inf` where there is none.
    """

    data: torch.Tensor
    lipschitz: float = float("inf")

    @property
    def estimate(self) -> torch.Tensor:
        """The u that explains the data best, in the shape of the data: y itself unless stated otherwise."""
        return self.data

    def fn(self, u: torch.Tensor) -> torch.Tensor:
        """f(u) of each item of the batch, shape (B,)."""
        raise TypeError(f"{type(self).__name__} has no value.")

    def grad(self, u: torch.Tensor) -> torch.Tensor:
        """Gradient of f at u, in the shape of u."""
        raise TypeError(f"{type(self).__name__} has no gradient.")

    def curvature(self, u: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """<d, f''(u) d> of each item, shape (B,)."""
        raise TypeError(f"{type(self).__name__} has no curvature.")

    def prox(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_v f(v) + ||v - u||^2 / (2 gamma)."""
        raise TypeError(f"{type(self).__name__} has no proximal operator.")

    def prox_conjugate(self, u: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_v f*(v) + ||v - u||^2 / (2 gamma) = u - gamma prox_{f/gamma}(u/gamma) (Moreau)."""
        return u - gamma * self.prox(u / gamma, 1.0 / gamma)

    def conjugate(self, v: torch.Tensor) -> torch.Tensor:
        """f*(v) = sup_u <u, v> - f(u) of each item, shape (B,); `inf` outside its domain."""
        raise TypeError(f"{type(self).__name__} has no known conjugate.")
