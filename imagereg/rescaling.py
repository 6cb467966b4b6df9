"""Data of extreme size, worked on as numbers of order one: the image is the same, multiplied back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method
    from imagereg.solvers.state import State

SMALL, LARGE = 1e-10, 1e10
"""Largest data within these stay as they are: squares and their sums over an image are single-precision
numbers far from both ends."""


def rescaled(ready: Measurement, method: Method) -> tuple[Measurement, float]:
    """A ready measurement with its data divided by a power of two near their size, and that power.

    The power is 1 where the size of the data is not extreme, and where it cannot be divided out: for physics
    that is not linear, noise that means the numbers themselves, and parameters in the unit of the image.
    """
    import torch

    data, noise = ready.data, ready.noise
    if not isinstance(data, torch.Tensor) or data.dtype == torch.float64 or not data.numel():
        return ready, 1.0
    size = float(data.abs().max())
    if size == 0 or SMALL <= size <= LARGE or not math.isfinite(size):
        return ready, 1.0
    if (
        _absolute(method)
        or not hasattr(ready.physics, "A_adjoint")
        or not (noise is None or getattr(noise, "scales", False))
    ):
        return ready, 1.0
    power = 2.0 ** round(math.log2(size))
    return replace(
        ready,
        data=data / power,
        noise=None if noise is None else noise.scaled(1 / power),
        truth=None if ready.truth is None else ready.truth / power,
    ), power


def _absolute(method: Method) -> bool:
    """Whether a parameter was given as a number in the unit of the image or of the data."""
    noise = getattr(method, "noise", None)
    if getattr(method, "absolute", False) or (isinstance(noise, float) and noise > 0):
        return True
    for name, field in type(method).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, Mapping) and extra.get("unit") == "image" and getattr(method, name):
            return True
    return False


def restored(states: Iterator[State], power: float) -> Iterator[State]:
    """The states with their images in the unit of the data again."""
    if power == 1.0:
        yield from states
        return
    said = f"The data were divided by {power:.4g} for the work, and the image multiplied by it."
    for state in states:
        yield replace(state, image=state.image * power, notes=(*state.notes, said))
