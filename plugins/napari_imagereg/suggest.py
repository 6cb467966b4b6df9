"""The main parameter of a method, chosen from the data of one slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagereg.measurement import Measurement
from imagereg.recipe import Recipe


@dataclass(frozen=True)
class Suggestion:
    """A value with the curve that speaks for it."""

    name: str
    value: float
    by: str
    tried: tuple[float, ...]
    scores: tuple[float, ...]


def suggestion(recipe: Recipe, measurement: Measurement, row: int) -> Suggestion:
    """Choose the main parameter on one slice: by held-out views for scans, by discrepancy for images."""
    import torch

    from imagereg.choose.base import choose
    from imagereg.engine import choose_device
    from imagereg.errors import UsageError
    from imagereg.execution.setup import with_grid, with_physics
    from imagereg.preprocessing import apply_steps, resolve_steps

    method = recipe.resolved_method()
    if not method.main:
        raise UsageError(f"{method.name} has no parameter that is chosen from the data.")
    steps = resolve_steps(measurement, recipe.steps())
    part = measurement.select(rows=slice(row, row + 1)) if measurement.rows > 1 else measurement
    device = choose_device(recipe.execution.device)
    part = with_physics(with_grid(apply_steps(part, steps), recipe), recipe, device, torch.float32)
    by = "held_out" if part.geometry is not None else "discrepancy"
    found: Any = choose(method, part.ready(device=device), by=by)
    tried = tuple(float(row[method.main]) for row in found.curve)
    return Suggestion(
        method.main, float(found.value), by, tried, tuple(float(row["score"]) for row in found.curve)
    )
