"""What every regularisation term offers: prior(x) = g(K x)."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

import torch

from imagereg.fidelities.base import Step, align

Bounds: TypeAlias = tuple[float | None, float | None]
"""(low, high) for every pixel, None for no bound on that side."""


class LinearMap:
    """K of g(K x), with its exact adjoint and an upper bound of its norm.

    The base class is the identity.

    Attributes
    ----------
    norm : an upper bound of ||K||.
    isometry : whether K^T K = 1, so that proximal steps of x and of K x are one.
    """

    norm: float = 1.0
    isometry: bool = False

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """K x."""
        return x

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """K^T z."""
        return z


class IdentityMap(LinearMap):
    """K x = x."""

    isometry = True


class Functional:
    """g of g(K x), strength included."""

    def slope(self, scale: Step) -> Step:
        """How fast the dual variable grows with K x, for images that span `scale`: a natural dual step.

        It is the curvature of a quadratic g, and (size of the dual ball) / (size of K x) of a norm.
        """
        raise TypeError(f"{type(self).__name__} does not say how steep it is.")

    def fn(self, z: torch.Tensor) -> torch.Tensor:
        """g(z) of each item of the batch, shape (B,)."""
        raise TypeError(f"{type(self).__name__} has no value.")

    def prox(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_w g(w) + ||w - z||^2 / (2 gamma)."""
        raise TypeError(f"{type(self).__name__} has no proximal operator.")

    def prox_conjugate(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_w g*(w) + ||w - z||^2 / (2 gamma), by Moreau's identity."""
        return z - gamma * self.prox(z / gamma, 1.0 / gamma)

    def conjugate(self, z: torch.Tensor) -> torch.Tensor:
        """g*(z) of each item, shape (B,); `inf` outside its domain."""
        raise TypeError(f"{type(self).__name__} has no known conjugate.")


class Prior:
    """A regularisation term g(K x).

    A prior that is only known through `prox` (a denoiser) has `outer` None and `fn` None.

    Attributes
    ----------
    operator : K.
    outer : g.
    smooth : whether `grad` exists everywhere.
    """

    operator: LinearMap = IdentityMap()
    outer: Functional | None = None
    smooth: bool = False

    def fn(self, x: torch.Tensor) -> torch.Tensor | None:
        """g(K x) of each item of the batch, shape (B,), or None where the prior has no value."""
        return None if self.outer is None else self.outer.fn(self.operator.A(x))

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        """Gradient of g(K x), where the prior is smooth."""
        raise TypeError(f"{type(self).__name__} is not smooth.")

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_v g(K v) + ||v - x||^2 / (2 gamma)."""
        raise TypeError(f"{type(self).__name__} has no proximal operator of its own; split it (PDHG, ADMM).")

    def dual_step(self, v: torch.Tensor, x: torch.Tensor, sigma: Step) -> torch.Tensor:
        """prox_conjugate(v + sigma K x, sigma): one ascent step of a primal-dual method.

        Priors whose pieces can be fused into one pass over memory do so here.
        """
        if self.outer is None:
            raise TypeError(f"{type(self).__name__} has no outer function to dualise.")
        sigma = align(sigma, v)
        return self.outer.prox_conjugate(v + sigma * self.operator.A(x), sigma)


@runtime_checkable
class BoundedProx(Protocol):
    """A prior whose proximal operator exists within bounds and can start from an earlier dual variable."""

    def prox_within(
        self,
        x: torch.Tensor,
        gamma: Step,
        bounds: Bounds = (None, None),
        warm: torch.Tensor | None = None,
        *,
        iterations: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """argmin of g(K v) + ||v - x||^2 / (2 gamma) over v in bounds, and the dual variable there."""
