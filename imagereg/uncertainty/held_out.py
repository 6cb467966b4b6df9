"""Coverage without a truth: do intervals in data space hold the views that were left out?

From all views but those of a fold come an image x and samples z of it. A left-out datum y is predicted as
A x, with the variance of A z over the samples and that of the datum's own noise:

    y in A x -+ q sqrt(var(A z) + var(noise)),  q the normal quantile of the level.

It tests image, spread and noise level together, along rays: errors that cancel along a ray are not seen, so
it can show that intervals are too narrow, and cannot prove those of pixels right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch

from imagereg.choose.held_out import take_views
from imagereg.errors import UsageError
from imagereg.noise.level import noise_level
from imagereg.uncertainty.coverage import LEVELS, correlation

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


@dataclass(frozen=True)
class HeldOutCoverage:
    """How often intervals of left-out data held.

    Attributes
    ----------
    coverage : nominal level to the fraction of left-out data within.
    without_spread : the same with the noise alone, as if the image were certain.
    mean_width : of the intervals of `level`, in the unit of the data.
    level : nominal.
    error_over_std : root mean square of error over predicted standard deviation; 1 where they agree.
    noise_part : part of the noise in the predicted variance.
    error_std_correlation : of |error| and predicted standard deviation.
    data, views : number of left-out data and views.
    noise : how its level is known.
    """

    coverage: dict[float, float]
    without_spread: dict[float, float]
    mean_width: float
    level: float
    error_over_std: float
    noise_part: float
    error_std_correlation: float
    data: int
    views: int
    noise: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def held_out_views(
    states: Callable[[Measurement], Iterator[State]],
    measurement: Measurement,
    *,
    level: float = 0.9,
    folds: int = 5,
    used: int = 1,
    levels: Sequence[float] = LEVELS,
) -> Iterator[State]:
    """States of the runs; the last one has the coverage as its outcome.

    Parameters
    ----------
    states : runs a method on a measurement; its last state's outcome has samples.
    measurement : a ready scan.
    level : of the width that is told.
    folds, used : every `folds`-th view is left out, beginning at 0, 1, ..., `used` - 1 in turn.
    levels : of the coverage.

    Raises
    ------
    UsageError
        When the data are no scan, the views too few, or there are no samples.
    """
    geometry = measurement.geometry
    if geometry is None:
        raise UsageError("held-out views: the data are no scan; calibrate with pairs.")
    if not 2 <= folds <= geometry.views // 2 or not 1 <= used <= folds:
        raise UsageError(
            f"held-out views: folds = {folds}, used = {used} do not fit {geometry.views} views; leave at "
            "least half of the views, and use 1 or more of the folds."
        )
    errors, spreads, noises, last, how = [], [], [], None, ""
    for fold in range(used):
        held = torch.zeros(geometry.views, dtype=torch.bool)
        held[fold::folds] = True
        part, rest = take_views(measurement, ~held), take_views(measurement, held)
        for last in states(part):
            yield replace(last, finished="", phase=f"fold {fold + 1} of {used}, {last.phase}".rstrip(", "))
        known = None if last is None else last.outcome.uncertainty
        samples = None if known is None else known.samples
        if last is None or samples is None:
            raise UsageError(
                "held-out views: the method gives no samples to predict with; take "
                "uncertainty.source = bootstrap."
            )
        level_known = noise_level(rest)
        with torch.no_grad():
            predicted = rest.physics.A(last.image)
            forwards = torch.stack([rest.physics.A(sample) for sample in samples])
            noise = level_known.at(predicted).std.square() * torch.ones_like(predicted)
        errors.append((rest.data - predicted).flatten())
        spreads.append(forwards.var(0).flatten())
        noises.append(noise.flatten())
        how = level_known.how
    error, spread, noise = (torch.cat(parts).double() for parts in (errors, spreads, noises))
    std = (spread + noise).sqrt()

    def curve(of: torch.Tensor) -> dict[float, float]:
        return {q: float((error.abs() <= _quantile(q) * of).double().mean()) for q in levels}

    found = HeldOutCoverage(
        coverage=curve(std),
        without_spread=curve(noise.sqrt()),
        mean_width=float(2 * _quantile(level) * std.mean()),
        level=level,
        error_over_std=float((error / std).square().mean().sqrt()),
        noise_part=float((noise / (spread + noise)).mean()),
        error_std_correlation=correlation(error, std),
        data=error.numel(),
        views=sum(len(range(fold, geometry.views, folds)) for fold in range(used)),
        noise=how,
    )
    assert last is not None
    yield replace(last, finished=f"{used} folds", outcome=replace(last.outcome, coverage=found))


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
