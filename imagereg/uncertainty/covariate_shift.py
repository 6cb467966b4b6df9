"""LR-QR: a threshold that depends on the measurement, for measurements from elsewhere than the calibration.

For a score S and features Phi of the measurement, h(x) = <gamma, Phi(x)> and a number beta minimise

    E1[pinball(h, S)] + lambda E3[beta^2 h^2] - 2 lambda E2[beta h],

E1 over labelled source data, E3 over unlabelled source data, E2 over unlabelled target data. Up to a constant
the last terms are lambda E[(beta h - r)^2], r being the likelihood ratio of target and source: h is drawn
towards a multiple of r, which is never estimated. Intervals are {S <= h}. It helps where the measurements are
distributed otherwise and the image given the measurement is not: not for another anatomy or another physics.
The coverage improves; it has no finite-sample guarantee.

References
----------
S. Joshi, S. Kiyani, G. Pappas, E. Dobriban, H. Hassani (2025), arXiv 2502.13030.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError

Array = NDArray[np.float64]

SMOOTHING = 1e-2
"""Width of the rounded corner of the pinball loss, scores being scaled to [0, 1]."""
LARGEST = 1e3
"""Bounds of beta and of the coefficients."""


@dataclass(frozen=True, eq=False)
class ShiftedThreshold:
    """h(x) = low + span <gamma, [1, (phi - mean) / std]>, never below `low`, the least score that was seen.

    Attributes
    ----------
    gamma : (features + 1,) coefficients, the constant first.
    beta : factor that brings h to the likelihood ratio.
    strength : lambda.
    mean, std : (features,) of the source, to standardise with.
    low, span : that bring scores to [0, 1].
    """

    gamma: Array
    beta: float
    strength: float
    mean: Array
    std: Array
    low: float
    span: float

    def __call__(self, features: Array) -> Array:
        """Thresholds (n,) for features (n, k): the factor of the half-widths where scores are factors."""
        scaled: Array = self.low + self.span * (
            _with_constant((features - self.mean) / self.std) @ self.gamma
        )
        return np.maximum(scaled, self.low)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            field.name: value.tolist()
            if isinstance(value := getattr(self, field.name), np.ndarray)
            else value
            for field in fields(self)
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """The threshold of plain values."""
        values: dict[str, Any] = {
            name: np.array(value, dtype=np.float64) if isinstance(value, list) else float(value)
            for name, value in plain.items()
        }
        return cls(**values)


def lr_qr(
    features: Array,
    scores: Array,
    target: Array,
    source: Array | None = None,
    *,
    alpha: float = 0.1,
    strength: float | None = None,
    seed: int = 0,
) -> ShiftedThreshold:
    """Fit the threshold function.

    Parameters
    ----------
    features, scores : (n1, k) and (n1,) of the labelled source data.
    target : (n2, k) features of measurements of the kind that the intervals are for.
    source : (n3, k) features of more source data; the labelled ones where not given.
    alpha : part of the scores that may lie above the threshold.
    strength : lambda; by three-fold cross-validation where not given.
    seed : of the folds.

    Raises
    ------
    UsageError
        When shapes do not fit, scores are not finite, or too few (see `refuse_few_scores`).
    """
    features, scores, target = (np.asarray(a, dtype=np.float64) for a in (features, scores, target))
    source = features if source is None else np.asarray(source, dtype=np.float64)
    if features.ndim != 2 or scores.shape != features.shape[:1] or target.shape[1:] != features.shape[1:]:
        raise UsageError(
            f"lr_qr: features {features.shape}, scores {scores.shape}, target {target.shape}; give (n1, k), "
            "(n1,) and (n2, k)."
        )
    refuse_few_scores(len(scores), features.shape[1])
    if not np.isfinite(scores).all():
        raise UsageError(
            "lr_qr: a score is not finite: the spread of the source says too little of the error."
        )
    mean, std = source.mean(0), np.where(source.std(0) > 0, source.std(0), 1.0)
    low, span = float(scores.min()), float(np.ptp(scores)) or 1.0
    phi, far, near = (_with_constant((a - mean) / std) for a in (features, target, source))
    scaled = (scores - low) / span
    if strength is None:
        strength = _chosen(phi, scaled, far, near, alpha, seed)
    gamma, beta = _fit(phi, scaled, far, near, alpha, strength)
    return ShiftedThreshold(gamma, beta, strength, mean, std, low, span)


def refuse_few_scores(count: int, features: int) -> None:
    """Raise where a fit by so many features would say nothing.

    Raises
    ------
    UsageError
        For fewer scores than three for each coefficient.
    """
    least = 3 * (features + 1)
    if count < least:
        raise UsageError(
            f"lr_qr: {count} scores are too few for {features} features of a measurement; give at least "
            f"{least} pairs, or fewer features."
        )


def default_strength(n1: int, n2: int, n3: int) -> float:
    """lambda of the best order, n1^(-1/3) (1 / n2 + 1 / n3)^(-1/3)."""
    return float(n1 ** (-1 / 3) * (1 / n2 + 1 / n3) ** (-1 / 3))


def pinball(threshold: Array, scores: Array, alpha: float) -> tuple[float, Array]:
    """Mean of max((1 - alpha) u, -alpha u), u = s - c, its corner rounded, and its gradient in c (n,)."""
    from scipy.special import expit

    off = scores - threshold
    rounded = (1 - alpha) * off + SMOOTHING * np.logaddexp(0.0, -off / SMOOTHING)
    slope = (expit(-off / SMOOTHING) - (1 - alpha)) / len(off)
    return float(rounded.mean()), slope


def objective(
    gamma: Array,
    beta: float,
    phi: Array,
    scores: Array,
    second: Array,
    first: Array,
    alpha: float,
    lam: float,
) -> tuple[float, Array, float]:
    """Value, gradient in gamma and derivative in beta; `second` = E3[Phi Phi^T], `first` = E2[Phi]."""
    value, slope = pinball(phi @ gamma, scores, alpha)
    curved = second @ gamma
    square, mean = float(gamma @ curved), float(first @ gamma)
    value += lam * (beta**2 * square - 2 * beta * mean)
    gradient = phi.T @ slope + lam * (2 * beta**2 * curved - 2 * beta * first)
    return value, gradient, lam * (2 * beta * square - 2 * mean)


def _fit(phi: Array, scores: Array, far: Array, near: Array, alpha: float, lam: float) -> tuple[Array, float]:
    """Descend in gamma from the constant quantile, beta being the best one for each gamma."""
    from scipy.optimize import minimize

    second, first = near.T @ near / len(near), far.mean(0)
    gamma = np.zeros(phi.shape[1])
    gamma[0] = np.quantile(scores, 1 - alpha)

    def reduced(g: Array) -> tuple[float, Array]:
        # At the best beta the derivative by beta vanishes, so that beta counts as fixed in the gradient.
        return objective(g, _best_beta(g, second, first), phi, scores, second, first, alpha, lam)[:2]

    bounds = [(-LARGEST, LARGEST)] * len(gamma)
    found: Any = minimize(reduced, gamma, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x, _best_beta(found.x, second, first)


def _best_beta(gamma: Array, second: Array, first: Array) -> float:
    """first^T gamma / gamma^T second gamma, within bounds."""
    square = float(gamma @ second @ gamma)
    return float(np.clip(first @ gamma / square, 1 / LARGEST, LARGEST)) if square > 0 else 1.0


def _chosen(phi: Array, scores: Array, far: Array, near: Array, alpha: float, seed: int) -> float:
    """Of ten values up to the best order, that with the least gradient of the objective on held-out folds."""
    largest = default_strength(len(phi), len(far), len(near))
    random = np.random.default_rng(seed)
    folds = [random.permutation(len(part)) % 3 for part in (phi, far, near)]
    best, chosen = np.inf, largest
    for lam in np.linspace(largest / 10, largest, 10):
        total = 0.0
        for fold in range(3):
            inside = [f != fold for f in folds]
            gamma, beta = _fit(
                phi[inside[0]], scores[inside[0]], far[inside[1]], near[inside[2]], alpha, float(lam)
            )
            held = near[~inside[2]]
            _, gradient, slope = objective(
                gamma,
                beta,
                phi[~inside[0]],
                scores[~inside[0]],
                held.T @ held / len(held),
                far[~inside[1]].mean(0),
                alpha,
                float(lam),
            )
            total += float(np.sqrt(gradient @ gradient + slope**2))
        if total < best:
            best, chosen = total, float(lam)
    return chosen


def _with_constant(features: Array) -> Array:
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


FEATURES = 6
"""Length of `measurement_features`."""


def features_of(data: Any) -> Array:
    """`measurement_features` of each item of tensors (B, C, ...): (B, 6)."""
    return np.stack([measurement_features(item) for item in data.detach().cpu().double().numpy()])


def measurement_features(data: Array, bands: int = FEATURES - 2) -> Array:
    """Features (bands + 2,) of a measurement: logarithms of its noise, its size, and the energy of bands.

    Parameters
    ----------
    data : (..., views or rows, columns); its axis of columns is analysed.
    bands : parts of the spectrum along the columns, each twice as wide as the one below.
    """
    flat = np.asarray(data, dtype=np.float64)
    flat = flat.reshape(-1, flat.shape[-1])
    noise = np.median(np.abs(np.diff(flat, 2, axis=-1))) / 0.6745 / np.sqrt(6)
    power = (np.abs(np.fft.rfft(flat, axis=-1)) ** 2).mean(0)[1:]
    edges = [0, *(max(1, round(len(power) / 2 ** (bands - k))) for k in range(1, bands)), len(power)]
    energies = [power[a : max(b, a + 1)].mean() for a, b in itertools.pairwise(edges)]
    values = np.array([noise, np.sqrt((flat**2).mean()), *energies])
    features: Array = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    return features
