"""Noise levels of the steps of methods on a diffusion prior."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch

from imagereg.errors import UsageError
from imagereg.networks.adapter import VariancePreserving

Order = Literal["descending", "ascending", "random"]

RANGE = 2.0
"""Span of images in [-1, 1], for which schedules and weights are stated."""


def levels(
    steps: int,
    average: int = 1,
    *,
    order: Order = "descending",
    least: float = 0.0,
    most: float = math.inf,
    schedule: VariancePreserving | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """Noise levels sigma of images in [0, 1], (steps, average), in the order of use.

    Times are spread evenly over those whose level lies between `least` and `most`, each in the middle of its
    share, so that a sum over them is the integral over time. Those of one step are neighbours.

    Parameters
    ----------
    steps, average : number of steps, and of levels of each.
    order : of the levels; random ones are a permutation.
    least, most : ends on the scale of [0, 1]; those of the schedule where not given.
    schedule : that maps time to level, on images in [-1, 1].
    seed : of the permutation.
    """
    if steps < 1 or average < 1 or order not in get_args(Order) or not least < most:
        raise UsageError(
            f"levels(steps={steps}, average={average}, order={order!r}, least={least}, most={most}): give "
            f"counts of at least 1, least < most, and one of {', '.join(get_args(Order))}."
        )
    schedule = schedule or VariancePreserving()
    ends = [float(schedule.time(RANGE * end)) for end in (least, most)]
    count = steps * average
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = schedule.level(ends[0] + (ends[1] - ends[0]) * places) / RANGE
    if order == "descending":
        found = found.flip(0)
    elif order == "random":
        found = found[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]
    return found.reshape(steps, average)
