"""The noise parameter of a score-based denoiser, by a sweep over a criterion of the denoised image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.noise.kind import Kind
from imagereg.priors.tweedie import gamma_mean, gaussian_mean, poisson_mean

Head = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]

HEADS: dict[str, Head] = {
    "gaussian": gaussian_mean,
    "poisson": poisson_mean,
    "gamma": gamma_mean,
}
"""Tweedie's formula for each kind of noise, as a function of y, its score, and the noise parameter."""


@dataclass(frozen=True)
class Sweep:
    """The outcome of a sweep.

    Attributes
    ----------
    level : where the criterion is smallest: sigma, gain or looks.
    levels, values : the curve.
    """

    level: float
    levels: tuple[float, ...]
    values: tuple[float, ...]


def sweep(
    y: torch.Tensor,
    score: torch.Tensor,
    kind: Kind,
    around: float,
    *,
    factor: float = 2.0,
    count: int = 60,
    head: Head | None = None,
) -> Sweep:
    """The noise parameter whose denoised image x has the smallest criterion.

    Gaussian: TV(x); Poisson: 0.1 TV(x) + mean(x - y log x); Gamma: TV(x) + mean(log x + y / x + (y / x)^2),
    the means over x > 0 and grey values relative to their range. The score does not depend on the parameter,
    so that a sweep costs no pass of the network.

    Parameters
    ----------
    y, score : (B, C, H, W), the score d log p / dy.
    kind : of noise.
    around : a rough parameter; the sweep goes from `around / factor` to `around * factor`.
    count : number of values, evenly apart in their logarithm.
    head : from y, its score and a parameter to x; Tweedie's formula of the kind where not given.

    Raises
    ------
    UsageError
        For values that are not positive.

    References
    ----------
    K. Kim, J. Ye, NeurIPS (2021), arXiv:2106.07009.
    """
    if not around > 0 or not factor > 1 or count < 3:
        raise UsageError(f"around = {around}, factor = {factor}, count = {count}: give > 0, > 1 and >= 3.")
    span = float(y.quantile(0.999) if y.numel() < 2**24 else y.amax())
    span = span if span > 0 else 1.0
    ratios = torch.linspace(-1, 1, count, dtype=torch.float64)
    levels = [around * factor ** float(r) for r in ratios]
    head = head or HEADS[kind]
    values = [_criterion(y, head(y, score, level), kind, span) for level in levels]
    best = min(range(count), key=values.__getitem__)
    level = levels[best]
    if 0 < best < count - 1:
        # The vertex of the parabola through the three lowest points.
        left, middle, right = values[best - 1 : best + 2]
        curvature = left - 2 * middle + right
        if curvature > 0:
            shift = 0.5 * (left - right) / curvature
            level *= (levels[best + 1] / level) ** shift
    return Sweep(level, tuple(levels), tuple(values))


def _criterion(y: torch.Tensor, x: torch.Tensor, kind: Kind, span: float) -> float:
    variation = total_variation(x / span)
    if kind == "gaussian":
        return variation
    positive = x > 0
    a, b = (x / span)[positive].double(), (y / span)[positive].double()
    if kind == "poisson":
        return 0.1 * variation + float((a - b * a.log()).mean())
    ratio = b / a
    return variation + float(a.log().mean() + ratio.mean() + ratio.square().mean())


def total_variation(x: torch.Tensor) -> float:
    """mean |dx| + mean |dy|, |d| = (d^2 + 1e-6)^1/2."""
    down, right = x.diff(dim=-2).double(), x.diff(dim=-1).double()
    return sum(float((d.square() + 1e-6).sqrt().mean()) for d in (down, right))
