"""Any denoiser in the place of a proximal operator: plug and play."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.priors.base import Prior

Denoiser: TypeAlias = Callable[[torch.Tensor, Any], torch.Tensor]
"""denoiser(x, sigma) with x (B, C, H, W) in [0, 1] and sigma on that scale."""


class DenoiserPrior(Prior):
    """A prior known only through a denoiser: prox(x) = low + s D((x - low) / s, sigma), s = high - low.

    `prox` takes no notice of gamma: sigma alone says how strongly it smooths. It has no value, so there is
    no objective, and a solver converges where the denoiser is (close to) a proximal operator.

    Parameters
    ----------
    denoiser : D(x, sigma), x in [0, 1].
    sigma : noise level that it removes, on the scale of [0, 1].
    low, high : grey values of the image that become 0 and 1; numbers, or one an item shaped (B, 1, ...).

    Raises
    ------
    UsageError
        When sigma is negative, or high is not above low.

    References
    ----------
    S. Venkatakrishnan, C. Bouman, B. Wohlberg, GlobalSIP (2013) 945, doi:10.1109/GlobalSIP.2013.6737048.
    """

    outer = None

    def __init__(self, denoiser: Denoiser, sigma: float, *, low: Step = 0.0, high: Step = 1.0) -> None:
        if not sigma >= 0:
            raise UsageError(f"sigma = {sigma}: give a noise level of at least 0, on the scale of [0, 1].")
        if not bool((torch.as_tensor(high) > torch.as_tensor(low)).all()):
            raise UsageError(f"range ({low}, {high}): the upper grey value must be above the lower one.")
        self.denoiser, self.sigma, self.low, self.high = denoiser, float(sigma), low, high

    def fn(self, x: torch.Tensor) -> torch.Tensor | None:
        """None: a denoiser has no value."""
        return None

    def prox(self, x: torch.Tensor, gamma: Step = 1.0) -> torch.Tensor:
        """The image denoised at the prior's sigma."""
        return self.denoise(x, self.sigma)

    def denoise(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The image denoised at another sigma."""
        return self.from_unit(self.unit(self.to_unit(x), sigma).to(x.dtype))

    def to_unit(self, x: torch.Tensor) -> torch.Tensor:
        """(x - low) / s."""
        return (x - self.low) / (self.high - self.low)

    def from_unit(self, u: torch.Tensor) -> torch.Tensor:
        """low + s u."""
        return self.low + (self.high - self.low) * u

    def unit(self, u: torch.Tensor, sigma: float) -> torch.Tensor:
        """D(u, sigma) of an image or volume whose grey values already run from 0 to 1."""
        if u.ndim != 5:
            return self.denoiser(u, sigma)
        b, c, d = u.shape[:3]  # denoisers are for pictures: each slice of a volume is one
        flat = u.movedim(2, 1).reshape(b * d, c, *u.shape[3:])
        return self.denoiser(flat, sigma).reshape(b, d, c, *u.shape[3:]).movedim(1, 2)
