"""How often intervals hold the truth, where they do not, and whether the spread follows the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from imagereg.uncertainty.band import Band

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99)


def coverage_curve(
    known: Mapping[str, torch.Tensor],
    image: torch.Tensor,
    truth: torch.Tensor,
    levels: Sequence[float] = LEVELS,
) -> dict[float, float]:
    """Nominal level to the fraction of pixels whose interval of that level holds the truth.

    Parameters
    ----------
    known : `samples`, `std`, `mean` by name (see `Band.of`).
    image, truth : (B, C, ...).
    """
    return {level: Band.of(image, level, **known).coverage(truth) for level in levels}


def correlation(error: torch.Tensor, std: torch.Tensor) -> float:
    """Pearson's correlation of |error| and standard deviation over all pixels; 0 where one is constant."""
    a, b = (t.detach().abs().double().flatten() for t in (error, std))
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    return float(a @ b) / scale if scale > 0 else 0.0


def stratified_coverage(band: Band, truth: torch.Tensor, strata: int = 4) -> tuple[float, ...]:
    """Coverage among the pixels of the narrowest intervals, ..., of the widest: `strata` parts of one size.

    Far apart, they tell that the width does not follow the error, however good the overall coverage.

    References
    ----------
    A. Angelopoulos et al., ICML (2022), arXiv 2202.05265.
    """
    order = band.width.flatten().argsort(stable=True)
    inside = (band.scores(truth) <= 1).flatten().double()[order]
    return tuple(float(part.mean()) for part in inside.tensor_split(strata) if part.numel())


def figures(
    band: Band, truth: torch.Tensor, *, std: torch.Tensor | None = None, strata: int = 4
) -> dict[str, Any]:
    """Coverage, mean width, coverage by quartiles of width, correlation of |error| with the spread."""
    spread = band.width if std is None else std
    return {
        "coverage": band.coverage(truth),
        "mean_width": float(band.width.double().mean()),
        "coverage_by_width": list(stratified_coverage(band, truth, strata)),
        "error_std_correlation": correlation(truth.to(band.centre) - band.centre, spread),
    }
