"""A preview: one slice, preprocessed and reconstructed, looked at a few times a second."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from imagereg.measurement import Measurement
from imagereg.recipe import Recipe

EVERY = 0.125
"""Seconds between two looks at a running solver: 8 Hz is live and leaves the GUI its time."""

CURVES = ("residual", "objective", "gap", "loss")


@dataclass(frozen=True, eq=False)
class Look:
    """What the GUI sees of a running preview.

    Attributes
    ----------
    image : (H, W), (H, W, C) or (D, H, W).
    figures : residual, objective, gap, loss, where the method tells them.
    provenance : the whole account, in the last look only.
    """

    image: Any
    iteration: int
    total: int | None
    seconds: float
    progress: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    finished: str = ""
    measurement: Measurement | None = field(default=None, repr=False)
    metrics: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)
    deviation: Any = field(default=None, repr=False)


def prepare_slice(
    recipe: Recipe, measurement: Measurement, row: int, *, limit: int = 0, threads: int = 0
) -> Measurement:
    """One row of what the recipe's steps make of the measurement, with its grid and physics.

    Parameters
    ----------
    row : the row (slice); a coupled volume is taken whole.
    limit : at most `limit` squared voxels, on a coarser grid where there would be more; 0 for no limit.
    threads : processor threads to use; 0 leaves one core to the GUI.
    """
    import torch

    from imagereg.engine import choose_device
    from imagereg.execution.setup import with_grid, with_physics
    from imagereg.preprocessing import apply_rows, apply_steps, resolve_steps, rows_after

    # One core stays with the GUI; sharing all of them makes both slower.
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 2) - 1))
    steps = resolve_steps(measurement, recipe.steps()) if recipe.preprocess else []
    total = rows_after(steps, measurement.rows)
    if not steps:
        single = measurement.coupled or total <= 1
        part = measurement if single else measurement.select(rows=slice(row, row + 1))
    elif measurement.coupled or total <= 1:
        part = apply_steps(measurement, steps)
    else:
        row = min(row, total - 1)
        part = apply_rows(measurement, steps, row, row + 1)
    part = coarser(with_grid(part, recipe), limit)
    precision = getattr(torch, recipe.execution.precision)
    return with_physics(part, recipe, choose_device(recipe.execution.device), precision)


def before_and_after(
    measurement: Measurement, steps: list[Any], place: int, row: int
) -> tuple[Measurement, Measurement]:
    """One row before and after the step at `place` of the steps, both in memory."""
    from imagereg.preprocessing import apply_rows, apply_steps, resolve_steps, rows_after

    resolved = resolve_steps(measurement, steps[: place + 1])
    if measurement.coupled or measurement.rows <= 1:
        before = apply_steps(measurement, resolved[:place])
        after = apply_steps(before, resolved[place:])
    else:
        row = min(row, rows_after(resolved, measurement.rows) - 1)
        first, last = resolved[place].rows_before(
            row, row + 1, rows_after(resolved[:place], measurement.rows)
        )
        before = apply_rows(measurement, resolved[:place], first, last)
        after = apply_rows(measurement, resolved, row, row + 1)
    return tuple(replace(m, data=np.asarray(m.data[...], dtype=np.float32)) for m in (before, after))  # type: ignore[return-value]


def coarser(measurement: Measurement, limit: int) -> Measurement:
    """The measurement with a grid of at most `limit` squared voxels, the same where it has no more."""
    from imagereg.geometry import Volume

    if measurement.geometry is None or not limit:
        return measurement
    volume = measurement.volume or Volume.fit(measurement.geometry)
    factor = (math.prod(volume.shape) / limit**2) ** (1 / volume.ndim)
    if factor <= 1:
        return measurement
    shape = tuple(max(1, math.floor(n / factor)) for n in volume.shape)
    edges = tuple(size / n for size, n in zip(volume.size, shape, strict=True))
    grid = Volume(shape, edges, volume.centre)
    coarse = replace(measurement, volume=grid, truth=None, physics=None)
    return coarse.note(f"preview on a grid coarser by {factor:.2g}: {grid}")


def preview_looks(
    recipe: Recipe,
    measurement: Measurement,
    row: int,
    stop: threading.Event,
    *,
    limit: int = 0,
    threads: int = 0,
) -> Iterator[Look]:
    """Preprocess one row and reconstruct it, one look every `EVERY` seconds.

    `stop` ends the iteration and keeps the image so far; see `prepare_slice` for the rest.
    """
    from imagereg.engine import iterate

    began = time.perf_counter()
    part = prepare_slice(recipe, measurement, row, limit=limit, threads=threads)
    prepared = time.perf_counter() - began
    execution = recipe.execution
    shown, state, complete = 0.0, None, False
    for state in iterate(
        part,
        recipe.resolved_method(),
        device=execution.device,
        precision=execution.precision,
        seed=execution.seed,
    ):
        now = time.monotonic()
        complete = bool(state.finished) or stop.is_set()
        if not complete and now - shown < EVERY:
            continue
        shown = now
        yield _last_look(recipe, part, state, prepared, stop.is_set()) if complete else _look(part, state)
        if stop.is_set():
            return
    if state is not None and not complete:
        # A method need not say that a state is its last.
        yield _last_look(recipe, part, state, prepared, stop.is_set())


def _look(part: Measurement, state: Any, *, costly: bool = False) -> Look:
    from imagereg.engine import figures

    known: dict[str, float] = {}
    # Some figures cost a projection each.
    if costly or state.iteration % 4 == 0:
        known = {name: value for name, value in figures(state).items() if name in CURVES}
    image = _single(part.from_tensor(state.image))
    return Look(image, state.iteration, state.total, state.seconds, state.progress, known, phase=state.phase)


def _last_look(recipe: Recipe, part: Measurement, state: Any, prepared: float, stopped: bool) -> Look:
    """The last look, with the whole account."""
    from imagereg.provenance import describe

    seconds = {"preprocess": prepared, "reconstruct": state.seconds}
    account = describe(part, recipe.resolved_method(), state, seconds=seconds, seed=recipe.execution.seed)
    account["finished"] = state.finished or ("stopped and kept" if stopped else "complete")
    account["recipe"] = recipe.to_yaml()
    deviation = state.memory.get("std")
    return replace(
        _look(part, state, costly=True),
        finished=account["finished"],
        measurement=part,
        metrics=dict(account["metrics"]),
        provenance=account,
        deviation=None if deviation is None else _single(part.from_tensor(deviation)),
    )


def _single(image: Any) -> Any:
    """The array of a stack of one slice without the stack's axis; other arrays as they are."""
    array = np.asarray(image)
    return array[0] if array.ndim > 2 and array.shape[0] == 1 else array
