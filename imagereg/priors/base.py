"""What every regularisation term offers: prior(x) = g(K x)."""

from __future__ import annotations

import torch

from imagereg.fidelities.base import Step


class LinearMap:
    """K of g(K x), with its exact adjoint and an upper bound of its norm.

    The base class is the identity.
    """

    norm: float = 1.0

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """K x."""
        return x

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """K^T z."""
        return z


class Functional:
    """g of g(K x), strength included."""

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
    """

    operator: LinearMap = LinearMap()
    outer: Functional | None = None

    def fn(self, x: torch.Tensor) -> torch.Tensor | None:
        """g(K x) of each item of the batch, shape (B,), or None where the prior has no value."""
        return None if self.outer is None else self.outer.fn(self.operator.A(x))

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_v g(K v) + ||v - x||^2 / (2 gamma)."""
        raise TypeError(f"{type(self).__name__} has no proximal operator of its own; split it (PDHG, ADMM).")
