"""Total variation: isotropic or anisotropic, of slices or volumes, with one weight or one a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.physics.distributed import part_held
from imagereg.priors.base import Bounds, Prior
from imagereg.priors.gradient import Gradient, as_fields, as_volumes, compiled
from imagereg.priors.norms import L1, L21


class TV(Prior):
    """sum_i r_i |(D x)_i|, r = strength * weight, D x forward differences (see `Gradient`).

    |.| is the Euclidean length of a pixel's differences, or the sum of their magnitudes where not
    `isotropic`. Channels are independent.

    Parameters
    ----------
    strength : one number, or one an item shaped (B, 1, ...), at least 0; in the units of the fidelity over
        the image's.
    isotropic : Euclidean length instead of the sum of magnitudes.
    dimensions : 2 for slices (also those of a volume, each alone), 3 for volumes.
    weight : one number a pixel, at least 0, broadcast to the image; where it is 0 nothing is penalised.
    spacing : distances of samples along the differences' axes, relative to each other.
    accuracy, iterations : relative duality gap at which `prox` stops, and its steps at most.

    References
    ----------
    L. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992) 259, doi:10.1016/0167-2789(92)90242-F; A. Beck and
    M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419, doi:10.1109/TIP.2009.2028250 (`prox`).
    """

    operator: Gradient
    outer: L21

    def __init__(
        self,
        strength: Step = 1.0,
        *,
        isotropic: bool = True,
        dimensions: int = 2,
        weight: torch.Tensor | None = None,
        spacing: Sequence[float] | None = None,
        accuracy: float = 1e-5,
        iterations: int = 500,
    ) -> None:
        if not accuracy > 0 or iterations < 1:
            raise UsageError(f"TV(accuracy={accuracy}, iterations={iterations}): both must be positive.")
        self.operator = Gradient(dimensions, spacing=spacing)
        self.outer = L21(strength, weight=weight) if isotropic else L1(strength, weight=weight, field=True)
        self.isotropic = isotropic
        self.accuracy, self.iterations = accuracy, iterations

    def dual_step(self, v: torch.Tensor, x: torch.Tensor, sigma: Step) -> torch.Tensor:
        """Projection of v + sigma D x onto the balls |v_i| <= r_i; one pass over memory on the CPU."""
        parted = self.operator.dimensions == 3 and part_held(x) is not None
        if parted or not (compiled(x) and compiled(v) and _per_item(sigma)):
            return super().dual_step(v, x, sigma)
        from imagereg.priors import gradient_kernels as kernels

        x, v = x.contiguous(), v.contiguous()
        out = torch.empty_like(v)
        kernels.dual_step(
            as_fields(v),
            as_volumes(x),
            _each(sigma, x),
            self._radii(v, x),
            self.operator._factors(x),
            self.isotropic,
            as_fields(out),
        )
        return out

    def prox(self, x: torch.Tensor, gamma: Step) -> torch.Tensor:
        """argmin_v TV(v) + ||v - x||^2 / (2 gamma), to the prior's accuracy."""
        return self.prox_within(x, gamma)[0]

    def prox_within(
        self,
        x: torch.Tensor,
        gamma: Step,
        bounds: Bounds = (None, None),
        warm: torch.Tensor | None = None,
        *,
        iterations: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """argmin over v in bounds of TV(v) + ||v - x||^2 / (2 gamma), and its dual variable.

        Accelerated ascent of the dual (FGP) with restarts: v(z) = P(x - gamma D^T z), and z rises along
        D v(z) by 1 / (gamma ||D||^2). It ends when the gap TV(v) - <D v, z> of every item is `accuracy`
        times its value.

        Parameters
        ----------
        x : (B, C, ...).
        gamma : step, one number or one an item.
        bounds : (low, high), None for no bound.
        warm : a dual variable of an earlier call to start from.
        iterations : steps at most; the prior's own number where not given.
        """
        D, g = self.operator, self.outer
        low, high = bounds

        def primal(z: torch.Tensor) -> torch.Tensor:
            v = x - gamma * D.A_adjoint(z)
            return v if low is None and high is None else v.clamp_(low, high)

        z = torch.zeros_like(D.A(x)) if warm is None else self.outer.prox_conjugate(warm, 1.0)
        extrapolated, before, momentum = z, z, torch.ones(x.shape[0], dtype=x.dtype, device=x.device)
        sigma = 1.0 / (gamma * D.norm**2)
        total = self.iterations if iterations is None else iterations
        kept, done = z, torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
        for k in range(1, total + 1):
            z = self.dual_step(extrapolated, primal(extrapolated), sigma)
            # The gradient test for each item: momentum that points downhill starts anew.
            wrong = ((extrapolated - z) * (z - before)).flatten(1).sum(1) > 0
            old = torch.where(wrong, torch.ones_like(momentum), momentum)
            momentum = (1 + (1 + 4 * old * old).sqrt()) / 2
            rate = torch.where(wrong, torch.zeros_like(old), (old - 1) / momentum)
            extrapolated = z + _like(rate, z) * (z - before)
            before = z
            if k % 10 == 0 or k == total:
                v = primal(z)
                field = D.A(v)
                value = g.fn(field)
                gap = value - (field * z).flatten(1).sum(1)
                size = value + ((v - x).square() / (2 * gamma)).flatten(1).sum(1)
                # An item keeps what it had when it was done, so that its company makes no difference.
                now = (gap <= self.accuracy * size) & ~done
                kept, done = torch.where(_like(now, z), z, kept), done | now
                if bool(done.all()):
                    break
        z = torch.where(_like(done, z), kept, z)
        return primal(z), z

    def _radii(self, v: torch.Tensor, x: torch.Tensor) -> np.ndarray:
        """r as the kernels want it, (N, D or 1, H or 1, W)."""
        radius = self.outer.radius(v)
        spatial = x.shape[2:]
        if radius.ndim == 0:
            radius = radius.expand(*x.shape[:2], *[1] * (len(spatial) - 1), spatial[-1])
        else:
            radius = radius.squeeze(2)
            # Axes before the last stay short where the radius is; the last must be whole for the kernel.
            whole = [*x.shape[:2], *radius.shape[2:-1], spatial[-1]]
            if len(spatial) == 3 and (whole[2] == 1) != (whole[3] == 1):
                whole[2:4] = spatial[:2]
            radius = radius.expand(whole)
        depth = 1 if len(spatial) == 2 else radius.shape[2]
        return radius.reshape(-1, depth, *radius.shape[-2:]).contiguous().numpy()


def _per_item(sigma: Step) -> bool:
    """Whether a step is one number, or one an item."""
    return not isinstance(sigma, torch.Tensor) or sigma.numel() == 1 or sigma.numel() == sigma.shape[0]


def _each(sigma: Step, x: torch.Tensor) -> np.ndarray:
    """A step as one number for each image (item and channel)."""
    steps = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1).expand(x.shape[0], x.shape[1])
    return steps.reshape(-1).contiguous().numpy()


def _like(numbers: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return numbers.reshape(-1, *[1] * (z.ndim - 1))
