"""Conformal calibration of pixel intervals: the factor that makes them as wide as they must be.

All rules work on a table of losses: losses[j, k] is the fraction of pixels of calibration image j that lie
outside their interval when its half-widths are multiplied by factors[k] (ascending), so that rows never
increase. A loss counts a pixel as missed where its score is above the factor: one that lies on the end of
its interval, as happens with quantised grey values, is covered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError, did_you_mean

Array = NDArray[np.float64]

FACTORS: Array = np.power(1.025, np.arange(-158, 308), dtype=np.float64)
"""Factors to choose from: fixed beforehand, as the guarantees want it, in steps of 2.5 %."""


def loss_curve(scores: NDArray[np.floating], factors: Array = FACTORS) -> Array:
    """Fraction of pixels missed with each factor, of the scores of one image (see `Band.scores`)."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    covered = np.searchsorted(ordered, factors, side="right")
    curve: Array = 1.0 - covered / ordered.size
    return curve


def upper_bound(risk: float, count: int, delta: float) -> float:
    """Hoeffding-Bentkus upper confidence bound of a mean of `count` losses in [0, 1] with mean `risk`.

    R+ = sup{R : min(exp(-n h(min(r, R), R)), e BinCDF(ceil(n r); n, R)) >= delta},
    h(a, b) = a log(a / b) + (1 - a) log((1 - a) / (1 - b)), 0 log 0 = 0.

    The true mean lies above it with a probability of at most `delta`.

    References
    ----------
    S. Bates et al., J. ACM 68 (2021) 43, doi:10.1145/3478535.
    """
    from scipy.optimize import brentq

    least, most = max(risk, 1e-12), 1 - 1e-12
    if risk >= 1 or p_value(risk, count, most) >= delta:
        return 1.0
    return float(brentq(lambda bound: p_value(risk, count, bound) - delta, least, most, xtol=1e-10))


def p_value(risk: float, count: int, bound: float) -> float:
    """Hoeffding-Bentkus p-value of "the true mean is above `bound`" (see `upper_bound`); it falls with
    `bound`, so that R+ <= bound is the same as p <= delta."""
    from scipy.special import bdtr

    hoeffding = math.exp(-count * _relative_entropy(min(risk, bound), bound))
    return min(hoeffding, math.e * float(bdtr(math.ceil(count * risk - 1e-9), count, bound)))


def _relative_entropy(a: float, b: float) -> float:
    first = a * math.log(a / b) if a > 0 else 0.0
    return first + ((1 - a) * math.log((1 - a) / (1 - b)) if a < 1 else 0.0)


def risk_controlling(losses: Array, alpha: float, delta: float, factors: Array = FACTORS) -> float:
    """Smallest factor such that the upper bound of the risk is at most alpha there and for all larger ones.

    RCPS: P(E[loss] <= alpha) >= 1 - delta over the draw of the calibration images.

    Raises
    ------
    UsageError
        When the images are too few for alpha and delta, or no factor is large enough.

    References
    ----------
    S. Bates et al., J. ACM 68 (2021) 43, doi:10.1145/3478535; A. Angelopoulos et al., ICML (2022), arXiv
    2202.05265 (images).
    """
    refuse_few("rcps", len(losses), alpha, delta)
    chosen = None
    for factor, risk in zip(factors[::-1], losses.mean(0)[::-1], strict=True):
        if risk > alpha or p_value(float(risk), len(losses), alpha) > delta:
            break
        chosen = float(factor)
    return _found(chosen, alpha)


def risk_controlled_mean(losses: Array, alpha: float, delta: float = 0.0, factors: Array = FACTORS) -> float:
    """Smallest factor with n / (n + 1) mean loss + 1 / (n + 1) <= alpha.

    Conformal risk control: E[loss] <= alpha, the mean being over new image and calibration images.

    Raises
    ------
    UsageError
        When the images are too few for alpha, or no factor is large enough.

    References
    ----------
    A. Angelopoulos et al., ICLR (2024), arXiv 2208.02814.
    """
    refuse_few("crc", len(losses), alpha, delta)
    n = len(losses)
    fits = np.flatnonzero((n * losses.mean(0) + 1) / (n + 1) <= alpha + 1e-12)
    return _found(float(factors[fits[0]]) if fits.size else None, alpha)


def image_quantile(losses: Array, alpha: float, delta: float, factors: Array = FACTORS) -> float:
    """The ceil((n + 1)(1 - delta))-th smallest score, the score of an image being the smallest factor that
    covers 1 - alpha of its pixels.

    Split conformal on images: P(at least 1 - alpha of a new image's pixels are covered) >= 1 - delta.

    Raises
    ------
    UsageError
        When the images are too few for delta, or no factor is large enough.

    References
    ----------
    V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World (2005),
    doi:10.1007/b106715.
    """
    refuse_few("image", len(losses), alpha, delta)
    chosen = split_quantile(image_scores(losses, alpha, factors), delta)
    return _found(chosen if math.isfinite(chosen) else None, alpha)


def image_scores(losses: Array, alpha: float, factors: Array = FACTORS) -> Array:
    """(n,) smallest factor with which each image misses at most alpha of its pixels; infinite where none."""
    covered = losses <= alpha + 1e-12
    scores: Array = np.where(covered.any(1), factors[covered.argmax(1)], np.inf)
    return scores


def split_quantile(scores: Array, delta: float) -> float:
    """ceil((n + 1)(1 - delta))-th smallest of n scores; infinite where there is none."""
    rank = math.ceil((len(scores) + 1) * (1 - delta) - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def least_images(rule: str, alpha: float, delta: float) -> int:
    """Number of calibration images below which a rule can promise nothing, even if none of them is missed."""
    if rule == "rcps":
        return math.ceil(math.log(1 / delta) / -math.log(1 - alpha) - 1e-9)
    return math.ceil(1 / (alpha if rule == "crc" else delta) - 1 - 1e-9)


@dataclass(frozen=True)
class Rule:
    """One way to calibrate.

    Attributes
    ----------
    name : what users type.
    factor : (losses, alpha, delta) to factor.
    promise : what it guarantees, with {coverage} = 1 - alpha and {confidence} = 1 - delta.
    """

    name: str
    factor: Callable[[Array, float, float], float]
    promise: str

    def sentence(self, alpha: float, delta: float, count: int) -> str:
        """The guarantee in one sentence."""
        said = self.promise.format(coverage=f"{1 - alpha:.4g}", confidence=f"{1 - delta:.4g}")
        return f"{said}, for images like the {count} it was calibrated on"


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "crc",
            risk_controlled_mean,
            "on average, over new images and calibrations, at least {coverage} of the pixels are covered",
        ),
        Rule(
            "rcps",
            risk_controlling,
            "with probability {confidence} over the calibration, at least {coverage} of the pixels of new "
            "images are covered on average",
        ),
        Rule(
            "image",
            image_quantile,
            "with probability {confidence}, at least {coverage} of the pixels of a new image are covered",
        ),
    )
}


def refuse_few(rule: str, count: int, alpha: float, delta: float) -> None:
    """Raise where `count` images cannot do, whatever their losses will be.

    Raises
    ------
    UsageError
        For an unknown rule, or too few images; the sentence says how many are needed.
    """
    if rule not in RULES:
        raise UsageError(f"no calibration rule is called {rule!r}{did_you_mean(rule, RULES)}")
    least = least_images(rule, alpha, delta)
    if count < least:
        asked = f"alpha = {alpha:.4g}" if rule == "crc" else f"alpha = {alpha:.4g}, delta = {delta:.4g}"
        raise UsageError(
            f"{count} calibration images are too few for {rule} with {asked}: at least {least} are needed; "
            "give more pairs, or ask for less."
        )


def _found(factor: float | None, alpha: float) -> float:
    if factor is None:
        raise UsageError(
            f"no factor makes the intervals wide enough to miss at most {alpha:g} of the pixels; more images "
            "may do, else the spread of the source says too little of the error."
        )
    return factor
