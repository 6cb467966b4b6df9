"""Sparsity within bounds: few bright pixels, or few wavelet coefficients of a non-negative image."""

from __future__ import annotations

import torch

from imagereg.fidelities.base import Step
from imagereg.priors.base import Bounds, Prior
from imagereg.priors.norms import L1
from imagereg.priors.wavelet import Wavelet


class SparsePixels(Prior):
    """sum_i r |x_i|: few pixels that are not 0 (the canonical l1 penalty).

    Parameters
    ----------
    strength : r, one number or one an item shaped (B, 1, ...), at least 0.
    """

    outer: L1

    def __init__(self, strength: Step = 1.0) -> None:
        self.outer = L1(strength)

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """Soft threshold."""
        return self.outer.prox(x, gamma)

    def prox_within(
        self,
        x: torch.Tensor,
        gamma: Step,
        bounds: Bounds = (None, None),
        warm: torch.Tensor | None = None,
        *,
        iterations: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The soft threshold clipped to the bounds, since pixels are independent; (x - v) / gamma."""
        v = _clipped(self.outer.prox(x, gamma), bounds)
        return v, (x - v) / gamma


class BoundedWavelet(Wavelet):
    """`Wavelet` whose proximal operator exists within bounds too, by ascent of its dual.

    With s' = W x, t = γ r, and multipliers m of the bounds, block by block,

        g <- clip(-s' - W m, -t, t),   m <- W^T (P(u) - u), u = x + W^T g,   θ <- s' + g + W m,

    until the duality gap of 1/2 ||θ - s'||² + sum t |θ| over W^T θ in bounds is small; v = P(W^T θ).

    The parameters are those of `Wavelet`, and

    accuracy, iterations : relative duality gap at which `prox_within` stops, and its ascents at most.

    References
    ----------
    Harmany, Marcia, Willett, IEEE Trans. Image Process. 21 (2012) 1084, doi:10.1109/TIP.2011.2168410.
    """

    def __init__(
        self,
        strength: Step = 1.0,
        *,
        wavelet: str = "db4",
        levels: int = 4,
        dimensions: int = 2,
        approximation: bool = False,
        accuracy: float = 1e-5,
        iterations: int = 100,
    ) -> None:
        super().__init__(
            strength, wavelet=wavelet, levels=levels, dimensions=dimensions, approximation=approximation
        )
        self.accuracy, self.iterations = accuracy, iterations

    def prox_within(
        self,
        x: torch.Tensor,
        gamma: Step,
        bounds: Bounds = (None, None),
        warm: torch.Tensor | None = None,
        *,
        iterations: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """argmin over v in bounds of sum r |(W v)_k| + ||v - x||² / (2 γ), and the multiplier of the bounds.

        Parameters
        ----------
        x : (B, C, ...).
        gamma : step, one number or one an item.
        bounds : (low, high), None for no bound.
        warm : the multiplier m of an earlier call to start from.
        iterations : ascents at most; the prior's own number where not given.
        """
        W, threshold = self.operator, gamma * self.outer.radius(x)
        target = W.A(x)
        multiplier = torch.zeros_like(x) if warm is None else warm
        lifted = W.A(multiplier)
        theta = target
        for _ in range(self.iterations if iterations is None else iterations):
            clipped = torch.minimum(torch.maximum(-target - lifted, -threshold), threshold)
            free = x + W.A_adjoint(clipped)
            multiplier = _clipped(free, bounds) - free
            lifted = W.A(multiplier)
            theta = target + clipped + lifted
            # θ is feasible by construction; what is left is <g, θ> + t |θ|, the gap of the l1 term.
            gap = (clipped * theta + threshold * theta.abs()).flatten(1).sum(1)
            size = (0.5 * (theta - target).square() + threshold * theta.abs()).flatten(1).sum(1)
            if bool((gap <= self.accuracy * size).all()):
                break
        return _clipped(W.A_adjoint(theta), bounds), multiplier


def _clipped(x: torch.Tensor, bounds: Bounds) -> torch.Tensor:
    low, high = bounds
    return x if low is None and high is None else x.clamp(low, high)
