"""Smoothed powers of a linear transform: from the quadratic penalty to one that is nearly l1."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.base import Functional, LinearMap, Prior


class SmoothedPower(Functional):
    """g(z) = strength sum_i phi(z_i), phi(t) = ((t^2 + eps^2)^(q/2) - eps^q) / q.

    q = 2 is half the squared norm whatever eps is, q = 1 tends to the l1 norm as eps goes to 0, and q < 1 is
    not convex. phi lies below every parabola that touches it and has the curvature c = phi''(0) = eps^(q-2);
    `target` gives where the parabola that touches at t has its minimum.

    Parameters
    ----------
    strength : factor, one number or one an item, shaped (B, 1, ...).
    power : q, in (0, 2].
    smoothing : eps, in the units of z, one number or one an item.

    Raises
    ------
    UsageError
        For a power outside (0, 2], a strength below 0 or a smoothing that is not positive.
    """

    def __init__(self, strength: Step = 1.0, *, power: float = 1.0, smoothing: Step = 1e-3) -> None:
        if not 0 < power <= 2:
            raise UsageError(f"power = {power}: give a number above 0 and not above 2.")
        if not bool(torch.as_tensor(strength >= 0).all()):
            raise UsageError(f"strength = {strength}: give a number of at least 0.")
        if power < 2 and not bool(torch.as_tensor(smoothing > 0).all()):
            raise UsageError(f"smoothing = {smoothing}: give a positive number.")
        self.strength = strength
        self.power = power
        self.smoothing = 1.0 if power == 2 else smoothing

    @property
    def curvature(self) -> Step:
        """Curvature of the parabolas that lie above g: strength eps^(q-2)."""
        return self.strength * self.smoothing ** (self.power - 2)

    def slope(self, scale: Step) -> Step:
        """The curvature at 0."""
        return self.curvature

    def fn(self, z: torch.Tensor) -> torch.Tensor:
        """g(z) of each item, shape (B,)."""
        if self.power == 2:
            return (self.strength * z.square() / 2).flatten(1).sum(1)
        eps = self.smoothing
        # The difference of powers, written so that small z keep their digits.
        part = eps**self.power * torch.expm1(self.power / 2 * torch.log1p((z / eps).square()))
        return (self.strength * part / self.power).flatten(1).sum(1)

    def grad(self, z: torch.Tensor) -> torch.Tensor:
        """Gradient of g, strength z (z^2 + eps^2)^(q/2 - 1), in the shape of z."""
        return self.curvature * (z - self.target(z))

    def target(self, z: torch.Tensor) -> torch.Tensor:
        """Minimum of the parabola that touches phi at z: z (1 - (1 + z^2/eps^2)^(q/2 - 1))."""
        if self.power == 2:
            return torch.zeros_like(z)
        return -z * torch.expm1((self.power / 2 - 1) * torch.log1p((z / self.smoothing).square()))

    def prox(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_w g(w) + ||w - z||^2 / (2 gamma); closed for q = 2, by Newton's method for 1 <= q < 2."""
        step = gamma * self.strength
        if self.power == 2:
            return z / (1 + step)
        if self.power < 1:
            raise TypeError(f"SmoothedPower(power={self.power}) is not convex and has no proximal operator.")
        eps2 = torch.as_tensor(self.smoothing, dtype=z.dtype, device=z.device) ** 2
        w = z.clone()
        for _ in range(60):
            square = w.square() + eps2
            slope = square ** (self.power / 2 - 1)
            curvature = slope * (1 + (self.power - 2) * w.square() / square)
            new = w - (w - z + step * w * slope) / (1 + step * curvature)
            # Newton's steps may cross zero, where the root cannot lie: halve the way instead.
            new = torch.where(new * z < 0, w / 2, new)
            if bool(((new - w).abs() <= 1e-7 * (z.abs() + eps2.sqrt())).all()):
                return new
            w = new
        return w


class PowerPrior(Prior):
    """Regularisation by a smoothed power of a linear transform, strength sum phi(K x) (see `SmoothedPower`).

    Parameters
    ----------
    operator : K, for example a `GraphLaplacian` or a gradient.
    strength, power, smoothing : see `SmoothedPower`.
    """

    outer: SmoothedPower
    smooth = True

    def __init__(
        self, operator: LinearMap, strength: Step = 1.0, *, power: float = 1.0, smoothing: Step = 1e-3
    ) -> None:
        self.operator = operator
        self.outer = SmoothedPower(strength, power=power, smoothing=smoothing)

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        """strength K^T phi'(K x)."""
        return self.operator.A_adjoint(self.outer.grad(self.operator.A(x)))
