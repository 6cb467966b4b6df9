"""Penalties with their sub-problem over non-negative images: sparse pixels, wavelets, total variation."""

from __future__ import annotations

from typing import Any

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.base import LinearMap, Prior


class NonnegativePenalty(Prior):
    """A prior that is infinite where x < 0, with a solver of its sub-problem.

    Parameters
    ----------
    strength : factor of the penalty.

    Raises
    ------
    UsageError
        For a negative strength.
    """

    def __init__(self, strength: float) -> None:
        if strength < 0:
            raise UsageError(f"strength = {strength}: a penalty must not be negative.")
        self.strength = float(strength)

    def solve(self, s: torch.Tensor, gamma: Step, warm: Any = None) -> tuple[torch.Tensor, Any]:
        """argmin over x >= 0 of 1/2 ||x - s||² + γ pen(x), and a dual variable to start the next call from."""
        raise TypeError(f"{type(self).__name__} has no solver of its sub-problem.")

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """The minimiser that `solve` finds from a cold start."""
        return self.solve(x, gamma)[0]

    def _finite(self, x: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.where((x < 0).flatten(1).any(1), float("inf"), value)


class SparsePixels(NonnegativePenalty):
    """strength · sum of x, x >= 0: few bright pixels (the canonical l1 penalty).

    Parameters
    ----------
    strength : factor of the penalty.
    """

    def fn(self, x: torch.Tensor) -> torch.Tensor:
        """strength ||x||_1 of each item, shape (B,)."""
        return self._finite(x, self.strength * x.flatten(1).sum(1))

    def solve(self, s: torch.Tensor, gamma: Step, warm: Any = None) -> tuple[torch.Tensor, None]:
        """max(s - γ strength, 0)."""
        return (s - gamma * self.strength).clamp_min(0), None


class SparseTransform(NonnegativePenalty):
    """strength ||V x||_1, x >= 0, for an orthonormal transform V (V V^T = V^T V = 1, wavelets say).

    With s' = V s, t = γ strength and θ = V x the dual is maximised block by block:

        g <- clip(-s' - V l, -t, t),   l <- max(-V^T (s' + g), 0),   θ <- s' + g + V l,

    until the duality gap 1/2 ||θ - s'||² + t ||θ||_1 - (1/2 ||s'||² - 1/2 ||θ||²) is small. x = max(V^T θ, 0).

    Parameters
    ----------
    strength : factor of the penalty.
    transform : V; its `A_adjoint` must be its inverse.
    iterations : ascents at most.
    tolerance : relative duality gap at which they end.
    """

    def __init__(
        self, strength: float, transform: LinearMap, *, iterations: int = 50, tolerance: float = 1e-6
    ) -> None:
        super().__init__(strength)
        self.operator = transform
        self.iterations, self.tolerance = iterations, tolerance

    def fn(self, x: torch.Tensor) -> torch.Tensor:
        """strength ||V x||_1 of each item, shape (B,)."""
        return self._finite(x, self.strength * self.operator.A(x).abs().flatten(1).sum(1))

    def solve(self, s: torch.Tensor, gamma: Step, warm: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Block ascent from the multiplier `warm` of x >= 0."""
        V, threshold = self.operator, gamma * self.strength
        target = V.A(s)
        multiplier = torch.zeros_like(s) if warm is None else warm
        lifted = V.A(multiplier)
        theta = target
        for _ in range(self.iterations):
            clipped = _clip(-target - lifted, threshold)
            multiplier = (-V.A_adjoint(target + clipped)).clamp_min(0)
            lifted = V.A(multiplier)
            theta = target + clipped + lifted
            if self._converged(theta, target, threshold):
                break
        return V.A_adjoint(theta).clamp_min(0), multiplier

    def _converged(self, theta: torch.Tensor, target: torch.Tensor, threshold: Step) -> bool:
        absolute = (threshold * theta.abs()).flatten(1).sum(1)
        primal = 0.5 * (theta - target).square().flatten(1).sum(1) + absolute
        dual = 0.5 * (target.square() - theta.square()).flatten(1).sum(1)
        return bool((primal - dual <= self.tolerance * primal.abs().clamp_min(1e-30)).all())


class NonnegativeVariation(NonnegativePenalty):
    """strength · TV(x), x >= 0, isotropic or anisotropic.

    The dual of the sub-problem is solved by the fast gradient projection of Beck and Teboulle: with x(p) =
    max(s - t D^T p, 0), p <- P(r + D x(r) / (4 d t)), |p_i| <= 1 in the 2-norm (isotropic) or the largest
    (anisotropic), r extrapolated. It starts from the p of the call before: the sub-problems of neighbouring
    steps are alike.

    Parameters
    ----------
    strength : factor of the penalty.
    gradient : D, forward differences; (B, C, ...) gives (B, C, d, ...) with its norm at most 2 sqrt(d).
    isotropic : sum of |D x|_2 over pixels, or of |D x|_1.
    iterations : dual steps at most.
    tolerance : relative duality gap at which they end.

    References
    ----------
    Beck, Teboulle, IEEE Trans. Image Process. 18 (2009) 2419, doi 10.1109/TIP.2009.2028250.
    """

    def __init__(
        self,
        strength: float,
        gradient: LinearMap,
        *,
        isotropic: bool = True,
        iterations: int = 50,
        tolerance: float = 1e-6,
    ) -> None:
        super().__init__(strength)
        self.operator = gradient
        self.isotropic = isotropic
        self.iterations, self.tolerance = iterations, tolerance

    def fn(self, x: torch.Tensor) -> torch.Tensor:
        """strength · TV of each item, shape (B,)."""
        return self._finite(x, self.strength * self._magnitude(self.operator.A(x)).flatten(1).sum(1))

    def solve(self, s: torch.Tensor, gamma: Step, warm: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Fast gradient projection on the dual, from `warm`."""
        D, threshold = self.operator, gamma * self.strength
        p = torch.zeros_like(D.A(s)) if warm is None else warm
        dual_threshold = _like(threshold, p)
        step = 1 / (D.norm**2 * dual_threshold)
        r, momentum = p, 1.0
        x = s.clamp_min(0)
        if not _positive(threshold):
            return x, p
        for iteration in range(self.iterations):
            before = p
            x = (s - threshold * D.A_adjoint(r)).clamp_min(0)
            p = self._project(r + step * D.A(x))
            later = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            r = p + (momentum - 1) / later * (p - before)
            momentum = later
            if iteration % 5 == 4 and self._converged(s, threshold, p):
                break
        return (s - threshold * D.A_adjoint(p)).clamp_min(0), p

    def _magnitude(self, z: torch.Tensor) -> torch.Tensor:
        return z.norm(dim=2) if self.isotropic else z.abs().sum(2)

    def _project(self, p: torch.Tensor) -> torch.Tensor:
        return p / p.norm(dim=2, keepdim=True).clamp_min(1) if self.isotropic else p.clamp(-1, 1)

    def _converged(self, s: torch.Tensor, threshold: Step, p: torch.Tensor) -> bool:
        """Whether the relative gap of 1/2 ||x - s||² + t TV(x) at x(p) is within the tolerance."""
        lifted = threshold * self.operator.A_adjoint(p)
        x = (s - lifted).clamp_min(0)
        # dual value = min over x >= 0 of 1/2 ||x - s||² + <x, t D^T p>, attained at x(p)
        slope = (x * lifted).flatten(1).sum(1)
        variation = (_like(threshold, x) * 1.0 * self._magnitude(self.operator.A(x))).flatten(1).sum(1)
        primal = 0.5 * (x - s).square().flatten(1).sum(1) + variation
        return bool((variation - slope <= self.tolerance * primal.abs().clamp_min(1e-30)).all())


def _clip(x: torch.Tensor, bound: Step) -> torch.Tensor:
    if isinstance(bound, torch.Tensor):
        bound = _like(bound, x)
        return torch.minimum(torch.maximum(x, -bound), bound)
    return x.clamp(-bound, bound)


def _like(step: Step, x: torch.Tensor) -> Step:
    """A step of each item in as many axes as x has."""
    if isinstance(step, torch.Tensor) and step.numel() > 1:
        return step.reshape(-1, *[1] * (x.ndim - 1))
    return step


def _positive(step: Step) -> bool:
    return bool((step > 0).all()) if isinstance(step, torch.Tensor) else step > 0
