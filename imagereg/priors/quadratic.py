"""Tikhonov's prior: half the squared norm of the image or of its gradient."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step, align
from imagereg.priors.base import Functional, IdentityMap, LinearMap, Prior


class SquaredNorm(Functional):
    """g(z) = strength / 2 ||z||^2.

    Parameters
    ----------
    strength : one number, or one an item shaped (B, 1, ...), at least 0.

    Raises
    ------
    UsageError
        When it is negative or not finite.
    """

    def __init__(self, strength: Step = 1.0) -> None:
        tensor = torch.as_tensor(strength)
        if not bool((torch.isfinite(tensor) & (tensor >= 0)).all()):
            raise UsageError(f"strength = {strength!r}: give a finite number of at least 0.")
        self.strength = strength

    def slope(self, scale: Step) -> Step:
        """The strength: the dual variable is strength z."""
        return self.strength

    def fn(self, z: torch.Tensor) -> torch.Tensor:
        """g(z) of each item, shape (B,)."""
        return 0.5 * (align(self.strength, z) * z.square()).flatten(1).sum(1)

    def grad(self, z: torch.Tensor) -> torch.Tensor:
        """strength z."""
        return align(self.strength, z) * z

    def prox(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """z / (1 + gamma strength)."""
        return z / (1 + align(gamma, z) * align(self.strength, z))

    def prox_conjugate(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """strength z / (strength + gamma)."""
        strength = align(self.strength, z)
        return z * (strength / (strength + align(gamma, z)))

    def conjugate(self, z: torch.Tensor) -> torch.Tensor:
        """||z||^2 / (2 strength) of each item, shape (B,); infinite where only z is not 0."""
        strength = torch.as_tensor(align(self.strength, z), dtype=z.dtype, device=z.device)
        energy = 0.5 * z.square() / strength
        return torch.where(z == 0, torch.zeros_like(z), energy).flatten(1).sum(1)


class Quadratic(Prior):
    """strength / 2 ||L x||^2, L the identity or any linear map such as a `Gradient`.

    Parameters
    ----------
    strength : one number, or one an item shaped (B, 1, ...), at least 0.
    operator : L; the identity where not given.

    References
    ----------
    A. N. Tikhonov, Soviet Math. Dokl. 4 (1963) 1035.
    """

    outer: SquaredNorm
    smooth = True

    def __init__(self, strength: Step = 1.0, *, operator: LinearMap | None = None) -> None:
        self.outer = SquaredNorm(strength)
        self.operator = IdentityMap() if operator is None else operator

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        """strength L^T L x."""
        return self.operator.A_adjoint(self.outer.grad(self.operator.A(x)))

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """x / (1 + gamma strength), where L is the identity."""
        if not isinstance(self.operator, IdentityMap):
            name = type(self.operator).__name__
            raise TypeError(
                f"Quadratic has no closed proximal operator with {name}; it is smooth: use `grad`."
            )
        return self.outer.prox(x, gamma)
