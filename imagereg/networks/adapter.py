"""One object for what diffusion networks give: clean images, noise, or scores, in any coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch

from imagereg.errors import UsageError

Map = Callable[[torch.Tensor, Any], torch.Tensor]
"""f(x, sigma) or f(x_t, t), both (B, C, H, W) to the same."""


@dataclass(frozen=True)
class VariancePreserving:
    """v_t = alpha_t v + sigma_t e, alpha_t^2 = prod_{i <= t} (1 - beta_i), sigma_t^2 = 1 - alpha_t^2.

    beta rises linearly from `first` to `last` in `steps` steps; t runs from 0 to steps - 1. The same image
    with variance exploding instead of preserved is v_t / alpha_t = v + s_t e, s_t = sigma_t / alpha_t.

    References
    ----------
    J. Ho, A. Jain, P. Abbeel, NeurIPS (2020), arXiv:2006.11239; Y. Song et al., ICLR (2021),
    arXiv:2011.13456.
    """

    first: float = 1e-4
    last: float = 0.02
    steps: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.last < 1 or self.steps < 2:
            raise UsageError(f"{self}: give 0 < first <= last < 1 and two steps at least.")

    @cached_property
    def _log_alpha(self) -> torch.Tensor:
        beta = torch.linspace(self.first, self.last, self.steps, dtype=torch.float64)
        return 0.5 * torch.cumsum(torch.log1p(-beta), 0)

    def alpha(self, t: torch.Tensor | float) -> torch.Tensor:
        """alpha_t, float64; between whole t by interpolation of its logarithm."""
        return self._at(t).exp()

    def sigma(self, t: torch.Tensor | float) -> torch.Tensor:
        """sigma_t, float64."""
        return torch.sqrt(-torch.expm1(2 * self._at(t)))

    def level(self, t: torch.Tensor | float) -> torch.Tensor:
        """s_t = sigma_t / alpha_t, float64."""
        return torch.sqrt(torch.expm1(-2 * self._at(t)))

    def time(self, level: torch.Tensor | float) -> torch.Tensor:
        """The t, not rounded, whose s_t is the level; the nearest end for levels beyond."""
        wanted = -0.5 * torch.log1p(torch.as_tensor(level, dtype=torch.float64).square())
        falling = self._log_alpha
        wanted = wanted.clamp(falling[-1], falling[0])
        right = torch.searchsorted(-falling, -wanted).clamp(1, self.steps - 1)
        before, after = falling[right - 1], falling[right]
        return right - 1 + (before - wanted) / (before - after)

    def _at(self, t: torch.Tensor | float) -> torch.Tensor:
        t = torch.as_tensor(t, dtype=torch.float64).clamp(0, self.steps - 1)
        left = t.floor().long().clamp_max(self.steps - 2)
        part = t - left
        return torch.lerp(self._log_alpha[left], self._log_alpha[left + 1], part)


class DenoiserAdapter:
    """D(x, sigma) of images in [0, 1], and from it noise and score in the coordinates that one likes.

        score(x, sigma)   (D - x) / sigma^2, the gradient of log p_sigma(x) (Tweedie, Miyasawa)
        noise(v_t, t)     eps = (v - D_v) / s_t, v = v_t / alpha_t, D_v the denoised v

    v is the image in the range of a model that preserves variance, by default [-1, 1]: v = 2 x - 1, so that
    noise s of v is noise sigma = s / 2 of x. An adapter is itself a denoiser(x, sigma).

    Parameters
    ----------
    denoiser : D(x, sigma), x (B, C, H, W) in [0, 1], sigma a number or one an item.
    schedule : of the coordinates that preserve variance.
    low, high : values of v for black and white.

    References
    ----------
    K. Miyasawa, Bull. Inst. Internat. Statist. 38 (1961) 181; P. Vincent, Neural Comput. 23 (2011) 1661,
    doi:10.1162/NECO_a_00142.
    """

    def __init__(
        self,
        denoiser: Map,
        *,
        schedule: VariancePreserving | None = None,
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        if not high > low:
            raise UsageError(f"DenoiserAdapter(low={low}, high={high}): high must be above low.")
        self.denoiser, self.schedule = denoiser, schedule or VariancePreserving()
        self.low, self.high = low, high

    @classmethod
    def from_noise(
        cls,
        predictor: Map,
        *,
        schedule: VariancePreserving | None = None,
        low: float = -1.0,
        high: float = 1.0,
    ) -> Self:
        """From eps(v_t, t), t whole (B,); of 2 C channels (learned variances) the first C count."""
        schedule = schedule or VariancePreserving()
        span = high - low

        def denoiser(x: torch.Tensor, sigma: Any) -> torch.Tensor:
            level = span * column(sigma, x)
            t = schedule.time(level.double()).round()
            v = low + span * x
            alpha = torch.rsqrt(1 + level.square())
            eps = predictor(alpha * v, t.flatten().long().expand(len(x)).to(x.device))[:, : x.shape[1]]
            return x - level * eps / span

        return cls(denoiser, schedule=schedule, low=low, high=high)

    @classmethod
    def from_score(cls, score: Map) -> Self:
        """From the gradient of log p_sigma at x = x_0 + sigma e (variance exploding), images in [0, 1]."""
        return cls(lambda x, sigma: x + column(sigma, x).square() * score(x, sigma))

    @classmethod
    def from_preserving_score(
        cls,
        score: Map,
        *,
        schedule: VariancePreserving | None = None,
        low: float = -1.0,
        high: float = 1.0,
    ) -> Self:
        """From the gradient of log p_t at v_t (variance preserved): eps = -sigma_t score."""
        chosen = schedule or VariancePreserving()

        def noise(v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return -column(chosen.sigma(t), v) * score(v, t)

        return cls.from_noise(noise, schedule=chosen, low=low, high=high)

    def __call__(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        """D(x, sigma)."""
        return self.denoiser(x, sigma)

    def score(self, x: torch.Tensor, sigma: Any) -> torch.Tensor:
        """The gradient of log p_sigma at x, images in [0, 1]."""
        return (self.denoiser(x, sigma) - x) / column(sigma, x).square()

    def noise(self, v: torch.Tensor, t: Any) -> torch.Tensor:
        """eps(v_t, t): the noise that v_t = alpha_t v + sigma_t eps holds; t a number or one an item."""
        span = self.high - self.low
        level = column(self.schedule.level(t), v)
        x = (v / column(self.schedule.alpha(t), v) - self.low) / span
        return span * (x - self.denoiser(x, (level / span).flatten())) / level

    def preserving_score(self, v: torch.Tensor, t: Any) -> torch.Tensor:
        """The gradient of log p_t at v_t, -eps / sigma_t."""
        return -self.noise(v, t) / column(self.schedule.sigma(t), v)


def column(value: Any, like: torch.Tensor) -> torch.Tensor:
    """A number, or one an item, shaped to multiply a batch of images."""
    found = torch.as_tensor(value).to(like)
    return found.reshape(-1, *[1] * (like.ndim - 1)) if found.ndim else found.reshape([1] * like.ndim)
