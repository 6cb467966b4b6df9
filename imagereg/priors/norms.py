"""Norms as outer functions of priors: l1 of single coefficients, l21 of the vectors at each pixel."""

from __future__ import annotations

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.base import Functional

EDGE = 0.05
"""Size of a typical edge, as a part of the image's range: what makes a norm's `slope`."""


class L21(Functional):
    """g(z) = sum_i r_i |z_i|, |z_i| the Euclidean length of the vector of pixel i, r = strength * weight.

    Fields are (B, C, K, ...) with vectors along K. A radius r_i = 0 leaves its pixel unpenalised.

    Parameters
    ----------
    strength : one number, or one an item shaped (B, 1, ...), at least 0.
    weight : one number a pixel, at least 0, in a shape that broadcasts to the image (B, C, ...).

    Raises
    ------
    UsageError
        When strength or weight are negative or not finite.
    """

    def __init__(self, strength: Step = 1.0, *, weight: torch.Tensor | None = None) -> None:
        for name, value in (("strength", strength), ("weight", weight)):
            if value is not None:
                tensor = torch.as_tensor(value)
                if not bool((torch.isfinite(tensor) & (tensor >= 0)).all()):
                    raise UsageError(f"{name} = {value!r}: give finite numbers of at least 0.")
        self.strength, self.weight = strength, weight

    def radius(self, z: torch.Tensor) -> torch.Tensor:
        """r in a shape that broadcasts to a field like z."""
        radius = torch.as_tensor(self.strength, dtype=z.dtype, device=z.device)
        if self.weight is not None:
            radius = radius * self.weight.to(z)
        if radius.ndim == 0:
            return radius
        radius = radius.reshape(*[1] * (z.ndim - 1 - radius.ndim), *radius.shape)
        return radius.unsqueeze(2)

    def length(self, z: torch.Tensor) -> torch.Tensor:
        """|z_i|, with the axis of the vectors kept."""
        if z.shape[2] == 2:
            return torch.hypot(z[:, :, :1], z[:, :, 1:])
        return torch.linalg.vector_norm(z, dim=2, keepdim=True)

    def slope(self, scale: Step) -> Step:
        """Mean radius over the typical edge of images that span `scale`."""
        return _mean_radius(self) / (EDGE * scale)

    def fn(self, z: torch.Tensor) -> torch.Tensor:
        """g(z) of each item, shape (B,)."""
        return (self.radius(z) * self.length(z)).flatten(1).sum(1)

    def prox(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """z_i max(0, 1 - gamma r_i / |z_i|)."""
        length = self.length(z).clamp_min(torch.finfo(z.dtype).tiny)
        return z * (1 - gamma * self.radius(z) / length).clamp_min_(0)

    def prox_conjugate(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """z_i min(1, r_i / |z_i|): the projection onto the balls |z_i| <= r_i, whatever gamma is."""
        length = self.length(z).clamp_min_(torch.finfo(z.dtype).tiny)
        return z * (self.radius(z) / length).clamp_max_(1)

    def conjugate(self, z: torch.Tensor) -> torch.Tensor:
        """0 where |z_i| <= r_i everywhere, up to rounding; infinite elsewhere."""
        return _inside(self.length(z), self.radius(z))


class L1(L21):
    """g(z) = sum_i r_i |z_i| over single coefficients, r = strength * weight.

    Parameters
    ----------
    strength : as in `L21`.
    weight : one number a coefficient, at least 0, in a shape that broadcasts to z; of fields (B, C, K, ...)
        in the shape of the image where `field` is given.
    field : whether z is a field (B, C, K, ...) and the weights belong to its pixels.
    """

    def __init__(
        self, strength: Step = 1.0, *, weight: torch.Tensor | None = None, field: bool = False
    ) -> None:
        super().__init__(strength, weight=weight)
        self.field = field

    def radius(self, z: torch.Tensor) -> torch.Tensor:
        """r in a shape that broadcasts to z."""
        if self.field:
            return super().radius(z)
        radius = torch.as_tensor(self.strength, dtype=z.dtype, device=z.device)
        return radius if self.weight is None else radius * self.weight.to(z)

    def length(self, z: torch.Tensor) -> torch.Tensor:
        """|z_i|."""
        return z.abs()

    def prox(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """Soft threshold: sign(z_i) max(0, |z_i| - gamma r_i)."""
        return z - self._clip(z, gamma * self.radius(z))

    def prox_conjugate(self, z: torch.Tensor, gamma: Step) -> torch.Tensor:
        """z_i clipped to [-r_i, r_i]."""
        return self._clip(z, self.radius(z))

    @staticmethod
    def _clip(z: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
        return torch.minimum(torch.maximum(z, -radius), radius)


def _mean_radius(norm: L21) -> Step:
    """Mean of r over each item, one number where all items share it."""
    if norm.weight is None:
        return norm.strength
    weight = norm.weight
    mean = weight.mean(dim=tuple(range(1, weight.ndim)), keepdim=True) if weight.ndim > 3 else weight.mean()
    return norm.strength * mean


def _inside(length: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    room = 64 * torch.finfo(length.dtype).eps
    beyond = (length > radius * (1 + room)).expand_as(length).flatten(1).any(1)
    return torch.where(beyond, torch.inf, 0.0).to(length.dtype)
