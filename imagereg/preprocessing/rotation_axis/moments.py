"""The rotation axis from the centre of mass, which must move as a sinusoid (Helgason-Ludwig, order one)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imagereg.preprocessing.rotation_axis.sinograms import Sinograms, smooth_deviation
from imagereg.preprocessing.rotation_axis.vote import Abstention, Vote, spread, weighted_median

NAME = "moments"


def moments(sinograms: Sinograms) -> Vote | Abstention:
    """Fit m(a) = c + x cos a + y sin a to the centre of mass of the views; c is the axis.

    The mass (the sum of a view) must not depend on the angle. Where it drifts smoothly, the object
    leaves the field of view or the background is not flat, and the answer is trusted as much less.

    Source: S. Helgason, Acta Math. 113 (1965); D. Ludwig, Comm. Pure Appl. Math. 19 (1966).
    """
    if sinograms.arc < math.radians(80):
        return Abstention(NAME, f"{sinograms.coverage}, less than 80")
    if sinograms.angles.size < 6:
        return Abstention(NAME, "there are fewer than six views")
    found = [_row(row, sinograms) for row in sinograms.levelled]
    fits = [fit for fit in found if fit is not None]
    if not fits:
        return Abstention(NAME, "no row holds an object whose mass stays in view")
    columns = [float(sinograms.detector_column(fit[0])) for fit in fits]
    sigmas = np.array([fit[1] * sinograms.binning for fit in fits])
    column = weighted_median(columns, list(1 / sigmas**2))
    uncertainty = math.hypot(float(np.median(sigmas)), spread(columns))
    return Vote(NAME, column, uncertainty, tuple(columns))


def _row(row: NDArray[np.floating], sinograms: Sinograms) -> tuple[float, float] | None:
    """Axis and its uncertainty from one row, in columns; None where there is no mass to speak of."""
    angles, count = sinograms.angles, sinograms.columns
    values = row.astype(np.float64)
    mass = values.sum(axis=1)
    typical = float(np.median(mass))
    if typical <= 0 or (mass <= 0.3 * typical).any():
        return None
    centre = (values * np.arange(count)).sum(axis=1) / mass
    design = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], axis=1)
    weights, sigma = np.ones_like(angles), 1.0
    for _ in range(8):
        root = np.sqrt(weights)[:, None]
        solution = np.linalg.lstsq(design * root, centre * root[:, 0], rcond=None)[0]
        residual = centre - design @ solution
        sigma = 1.4826 * float(np.median(np.abs(residual))) + 1e-6
        weights = 1 / (1 + (residual / (2 * sigma)) ** 2)
    covariance = np.linalg.inv(design.T @ (design * weights[:, None])) * sigma**2
    drift = float(smooth_deviation(mass)) / typical
    stripes = _stripes(values) / typical
    parts = (
        math.sqrt(covariance[0, 0]),
        # Mass that comes and goes does so at an edge, about half the detector from the axis.
        drift * count / 2,
        # Stripes pull at every column, and more so through the air level taken from a few of them.
        stripes * count**1.5 / math.sqrt(12),
        stripes * count**2 / 6 / math.sqrt(max(2, count // 40)),
    )
    return float(solution[0]), math.hypot(*parts)


def _stripes(values: NDArray[np.float64]) -> float:
    """Standard deviation of a pattern that is fixed to the columns, which shifts every centre of mass."""
    from scipy.ndimage import median_filter

    profile = values.mean(axis=0)
    pattern = profile - median_filter(profile, size=7, mode="nearest")
    noise = np.abs(np.diff(values, axis=0)).mean() / 1.128 / math.sqrt(values.shape[0])
    return math.sqrt(max(0.0, (1.4826 * float(np.median(np.abs(pattern)))) ** 2 - noise**2))
