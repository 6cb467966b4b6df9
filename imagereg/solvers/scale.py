"""The size of grey values that solutions have, which step sizes of primal-dual methods go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from imagereg.physics.distributed import largest, smallest
from imagereg.solvers.linear import quick_fit

if TYPE_CHECKING:
    from imagereg.solvers.problem import Problem


def scale_of(problem: Problem, start: torch.Tensor | None = None) -> torch.Tensor:
    """The span of grey values that solutions have, roughly, of each item, shaped (B, 1, ..., 1).

    It is that of `start`, where that has any, or of a few steps of least squares from 0.
    """
    with torch.no_grad():
        given = None if start is None else _span(start)
        if given is not None and bool((given > 0).all()):
            return given
        span = _span(quick_fit(problem))
        span = torch.where(span > 0, span, torch.ones_like(span))
        return span if given is None else torch.where(given > 0, given, span)


def _span(image: torch.Tensor) -> torch.Tensor:
    flat = image.flatten(1)
    low, high = smallest(flat.amin(1)), largest(flat.amax(1))
    span = torch.maximum(high - low, torch.maximum(high, -low))
    return span.reshape(-1, *[1] * (image.ndim - 1))
