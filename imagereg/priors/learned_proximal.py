"""The prior of a convex network: exactly known through its proximal operator, and in value by inversion."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.models import Denoiser as DeepinvDenoiser
from deepinv.optim import Prior as DeepinvPrior

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.networks.icnn import ICNN
from imagereg.networks.inversion import PriorValue, prior_value, value_at
from imagereg.priors.denoiser import DenoiserPrior


class LearnedProximal(DeepinvDenoiser):
    """D(v) = (1 - t) v + t f(v) = grad psi_t(v), psi_t(v) = (1 - t) / 2 ||v||^2 + t psi(v): a denoiser.

    psi_t is convex, so that D is the proximal operator of a prior phi_t for every t in (0, 1]; phi_1 is the
    network's own, and phi_t / t tends to its Moreau envelope as t falls to 0. A network is for one noise
    level: the sigma that denoisers are called with is not used. Channels are taken one by one where the
    network has one.

    Parameters
    ----------
    network : psi and f.
    sigma : noise level that it was trained for, on the scale of [0, 1].
    relaxation : t; one number, or one an item shaped (B, 1, 1, 1).

    Raises
    ------
    UsageError
        When sigma is not positive or t is not in (0, 1].
    """

    def __init__(self, network: ICNN, sigma: float, *, relaxation: Step = 1.0) -> None:
        super().__init__()
        shares = torch.as_tensor(relaxation)
        if not sigma > 0 or not bool(((shares > 0) & (shares <= 1)).all()):
            raise UsageError(
                f"LearnedProximal(sigma={sigma}, relaxation={relaxation}): give a positive sigma and a "
                "relaxation in (0, 1]."
            )
        self.network, self.sigma, self.relaxation = network, float(sigma), relaxation
        self._whole = bool((shares == 1).all())

    def potential(self, v: torch.Tensor) -> torch.Tensor:
        """psi_t of each item of (B, C, H, W), shape (B,)."""
        inner = self.network.potential(self._pictures(v)).reshape(v.shape[0], -1).sum(1)
        if self._whole:
            return inner
        share = torch.as_tensor(self.relaxation).to(v).flatten()
        return 0.5 * (1 - share) * v.square().flatten(1).sum(1) + share * inner

    def forward(self, x: torch.Tensor, sigma: Any = None, **_: Any) -> torch.Tensor:
        """D(x), (B, C, H, W) to the same; sigma is not used."""
        clean = self.network(self._pictures(x)).reshape(x.shape)
        return clean if self._whole else x + torch.as_tensor(self.relaxation).to(x) * (clean - x)

    def prior(self, x: torch.Tensor, *, tolerance: float = 1e-4, iterations: int = 300) -> PriorValue:
        """phi_t(x) up to a constant, with the residual of the inversion (see `prior_value`)."""
        return prior_value(self, x, tolerance=tolerance, iterations=iterations)

    def _pictures(self, x: torch.Tensor) -> torch.Tensor:
        channels = self.network.inputs
        if x.ndim != 4 or (x.shape[1] != channels and channels != 1):
            raise UsageError(
                f"images of shape {tuple(x.shape)} and a network for {channels} channels: give "
                f"(B, {channels}, H, W)."
            )
        return x if x.shape[1] == channels else x.reshape(-1, 1, *x.shape[-2:])


class ExplicitPrior(DeepinvPrior):
    """phi_t as a prior of deepinv: `prox` is D, `fn` and `grad` invert it.

    `prox` takes no notice of gamma, for D is the proximal operator at step one alone: a method whose steps
    are gamma minimises h + phi_t / gamma. grad phi_t(x) = D^-1(x) - x.

    Parameters
    ----------
    denoiser : D.
    tolerance, iterations : of the inversion (see `prior_value`).

    Raises
    ------
    UsageError
        By `fn` and `grad`, when x is not in the range of D to that tolerance.
    """

    def __init__(self, denoiser: LearnedProximal, *, tolerance: float = 1e-4, iterations: int = 300) -> None:
        super().__init__()
        self.explicit_prior = True
        self.denoiser, self.tolerance, self.iterations = denoiser, tolerance, iterations

    def fn(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """phi_t(x) of each item, (B,)."""
        return self._inverted(x).value

    def grad(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """D^-1(x) - x."""
        return self._inverted(x).point - x

    def prox(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """D(x)."""
        return self.denoiser(x)

    def _inverted(self, x: torch.Tensor) -> PriorValue:
        found = self.denoiser.prior(x, tolerance=self.tolerance, iterations=self.iterations)
        worst = float(found.residual.max())
        # Rounding may keep a residual a little above what was asked for.
        if worst > 10 * self.tolerance:
            raise UsageError(
                f"the image is not in the range of the learned proximal operator (residual {worst:.2g}): its "
                "prior is not known there; denoise it first, or take `LearnedProximal.prior` for a lower "
                "bound."
            )
        return found


class LearnedProximalPrior(DenoiserPrior):
    """s^2 phi_t((x - low) / s) for images with grey values from low to low + s, known through its prox.

    `fn` is None, so that nobody who watches a solver inverts the network at each step; `value` inverts it,
    and `value_at` needs no inversion where x is the proximal point of a known v, as it is in ADMM and FISTA.

    Parameters
    ----------
    denoiser : D.
    low, high : grey values that become 0 and 1; numbers, or one an item shaped (B, 1, ...).
    """

    def __init__(self, denoiser: LearnedProximal, *, low: Step = 0.0, high: Step = 1.0) -> None:
        super().__init__(denoiser, denoiser.sigma, low=low, high=high)
        self.proximal = denoiser

    def value(self, x: torch.Tensor, *, tolerance: float = 1e-4, iterations: int = 300) -> PriorValue:
        """The prior of each item of (B, C, H, W), by inversion; the residual is on the scale of [0, 1]."""
        span = torch.as_tensor(self.high - self.low)
        found = self.proximal.prior((x - self.low) / span, tolerance=tolerance, iterations=iterations)
        square = span.flatten().to(found.value) ** 2
        return PriorValue(
            square * found.value, found.residual, self.low + span * found.point, found.iterations
        )

    def value_at(self, v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The prior of each item for x = prox(v), (B,)."""
        span = torch.as_tensor(self.high - self.low)
        found = value_at(self.proximal, (v - self.low) / span, (x - self.low) / span)
        return span.flatten().to(found) ** 2 * found
