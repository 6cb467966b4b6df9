"""Total variation of images that wrap round: differences that the Fourier transform diagonalises."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.base import LinearMap, Prior
from imagereg.priors.norms import L1, L21


class PeriodicGradient(LinearMap):
    """(D x)_k = x at the next sample along axis k - x, the first sample following the last.

    Images (B, C, ...) give fields (B, C, K, ...) with K = 2 differences along the last two axes, or 3.

    Parameters
    ----------
    dimensions : K, 2 or 3.
    """

    def __init__(self, dimensions: int = 2) -> None:
        if dimensions not in (2, 3):
            raise UsageError(f"gradient: dimensions = {dimensions}; give 2 (slice by slice) or 3 (volumes).")
        self.dimensions = dimensions
        self.norm = 2 * dimensions**0.5

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """D x, (B, C, K, ...)."""
        return torch.stack([torch.roll(x, -1, axis) - x for axis in range(-self.dimensions, 0)], dim=2)

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        """D^T z, (B, C, ...)."""
        axes = enumerate(range(-self.dimensions, 0))
        parts = [torch.roll(z[:, :, k], 1, axis) - z[:, :, k] for k, axis in axes]
        return torch.stack(parts).sum(0)


class PeriodicTV(Prior):
    """sum_i strength |(D x)_i|, D the `PeriodicGradient`.

    Parameters
    ----------
    strength : one number, or one an item shaped (B, 1, ...), at least 0.
    isotropic : Euclidean length of a pixel's differences instead of the sum of their magnitudes.
    dimensions : 2 for slices, 3 for volumes.
    """

    outer: L21

    def __init__(self, strength: Step = 1.0, *, isotropic: bool = True, dimensions: int = 2) -> None:
        self.operator = PeriodicGradient(dimensions)
        self.outer = L21(strength) if isotropic else L1(strength, field=True)
