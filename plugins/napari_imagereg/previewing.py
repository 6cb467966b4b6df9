"""A preview: one slice, preprocessed and reconstructed, looked at a few times a second."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from imagereg.measurement import Measurement
from imagereg.recipe import Recipe
from napari_imagereg.region import Region, cut, spans_of
from napari_imagereg.uncertainty import Offer, offers

EVERY = 0.125
"""Seconds between two looks at a running solver: 8 Hz is live and leaves the GUI its time."""

COMPUTED = ("residual", "objective", "gap")
"""Figures that a state works out when it is asked, which may cost a projection."""

SHARE = 0.1
"""Part of the solver's time that may go into such figures."""

LONGEST = 0.5
"""Seconds after which they are asked for all the same: the first ones take long, for kernels are compiled."""


@dataclass(frozen=True, eq=False)
class PreviewLook:
    """What the GUI sees of a running preview.

    Attributes
    ----------
    image : (H, W), (H, W, C) or (D, H, W).
    measurement : the part of the data that it was made of.
    spans : rows and columns of the source that it covers, where it is a part of an image.
    figures : residual, objective, gap, and whatever else the method tells of its state (loss, ...).
    phase : the part of the work that this belongs to, where it has several ('training').
    provenance : the whole account, in the last look only.
    offers : images of uncertainty, in the last look only.
    """

    image: Any
    measurement: Measurement = field(repr=False)
    iteration: int
    total: int | None
    seconds: float
    progress: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    spans: tuple[slice, slice] | None = None
    finished: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)
    offers: tuple[Offer, ...] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False)
class Prepared:
    """One row that is ready for a method, and the recipe that does the same to it outside the viewer."""

    part: Measurement
    recipe: Recipe
    spans: tuple[slice, slice] | None = None


def without_centre(steps: Iterable[Any]) -> tuple[Any, ...]:
    """The steps before and beside the search for the centre, which changes neither shape nor time."""
    return tuple(step for step in steps if "centre" not in step)


def prepare_slice(
    recipe: Recipe,
    measurement: Measurement,
    row: int,
    *,
    limit: int = 0,
    threads: int = 0,
    region: Region | None = None,
    file_row: int | None = None,
) -> Prepared:
    """One row of what the recipe's steps make of the measurement, with its grid and physics.

    Parameters
    ----------
    row : the row (slice); a coupled volume is taken whole.
    limit : at most `limit` squared voxels, on a coarser grid where there would be more; 0 for no limit.
    threads : processor threads to use where the recipe does not say; 0 leaves one core to the GUI.
    region : the part of the slice to take, where not all of it.
    file_row : the row's number in the file, where the measurement is a part of it.
    """
    import torch

    from imagereg.engine import choose_device
    from imagereg.preprocessing import prepare_rows, resolve_steps, rows_after
    from imagereg.running.setup import with_grid, with_physics
    from imagereg.running.threads import use_threads

    if recipe.physics.noise is not None:
        from imagereg.physics.noise import noise_from_dict

        measurement = replace(measurement, noise=noise_from_dict(recipe.physics.noise))
    # One core stays with the GUI; sharing all of them makes both slower.
    threads = recipe.execution.threads or threads or max(1, (os.cpu_count() or 2) - 1)
    use_threads(threads)
    steps = resolve_steps(measurement, recipe.steps()) if recipe.preprocess else []
    total = rows_after(steps, measurement.rows)
    alone = measurement.coupled or total <= 1
    row = min(row, total - 1)
    part = prepare_rows(measurement, steps, row, row + 1)
    gridded = with_grid(part, recipe)
    spans = spans_of(gridded, region)
    part = coarser(cut(gridded, region), limit)
    # Sums over an image are rounded by how the threads part it, so their number belongs to the recipe.
    same = recipe.resolved(
        preprocess=tuple({step.name: step.model_dump(mode="json")} for step in steps),
        execution=recipe.execution.model_copy(update={"threads": threads}),
    )
    if not alone and total == measurement.rows:
        place = row if file_row is None else file_row
        same = same.with_values({"input.rows": f"{place}:{place + 1}"})
    if part.volume is not None and part.volume != gridded.volume:
        grid = part.volume
        given = {"shape": list(grid.shape), "voxel": list(grid.edges), "centre": list(grid.centre)}
        same = same.with_values({"physics.volume": given})
    precision = getattr(torch, recipe.execution.precision)
    device = choose_device(recipe.execution.device)
    return Prepared(with_physics(part, recipe, device, precision), same, spans)


def before_and_after(
    measurement: Measurement, steps: list[Any], place: int, row: int
) -> tuple[Measurement, Measurement]:
    """One row before and after the step at `place` of the steps, both in memory."""
    from imagereg.preprocessing import prepare_rows, resolve_steps, rows_after

    resolved = resolve_steps(measurement, steps[: place + 1])
    row = min(row, rows_after(resolved, measurement.rows) - 1)
    taken = resolved[place].rows_before(row, row + 1, rows_after(resolved[:place], measurement.rows))
    before = prepare_rows(measurement, resolved[:place], *taken)
    after = prepare_rows(measurement, resolved, row, row + 1)
    return tuple(replace(m, data=np.asarray(m.data[...], dtype=np.float32)) for m in (before, after))  # type: ignore[return-value]


def noise_of(
    recipe: Recipe, measurement: Measurement, row: int, *, limit: int = 0, threads: int = 0
) -> float:
    """Standard deviation of white noise in one row.

    Raises
    ------
    UsageError
        Where the data show no noise.
    """
    from imagereg.engine import prepare
    from imagereg.noise.level import noise_level

    unsaid = recipe.model_copy(update={"physics": recipe.physics.model_copy(update={"noise": None})})
    ready = prepare_slice(unsaid, replace(measurement, noise=None), row, limit=limit, threads=threads)
    return float(noise_level(prepare(ready.part, device="cpu")).std.mean())


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
    region: Region | None = None,
    file_row: int | None = None,
) -> Iterator[PreviewLook]:
    """Preprocess one row and reconstruct it, one look every `EVERY` seconds.

    The last look's account holds the recipe of exactly this: the row, the grid, every parameter.
    `stop` ends the iteration and keeps the image so far; see `prepare_slice` for the rest.
    """
    from imagereg.engine import iterate

    began = time.perf_counter()
    ready = prepare_slice(
        recipe, measurement, row, limit=limit, threads=threads, region=region, file_row=file_row
    )
    recipe = ready.recipe
    prepared = time.perf_counter() - began
    execution = recipe.execution
    shown, state, complete = 0.0, None, False
    asker = _Asker()
    for state in iterate(
        ready.part,
        recipe.resolved_method(),
        device=execution.device,
        precision=execution.precision,
        seed=execution.seed,
        uncertainty=recipe.uncertainty,
    ):
        # Asked once: a stop that comes while a look is drawn finds the next state.
        stopped = stop.is_set()
        complete = bool(state.finished) or stopped
        if complete:
            yield _last_look(ready, state, prepared, stopped)
            if stopped:
                return
            continue
        now = time.monotonic()
        if now - shown >= EVERY:
            shown = now
            yield _look(ready, state, asker.ask(state))
    if state is not None and not complete:
        # A method need not say that a state is its last.
        yield _last_look(ready, state, prepared, stop.is_set())


class _Asker:
    """Asks states for their figures, the costly ones so seldom that the solver hardly notices."""

    def __init__(self) -> None:
        self._again = 0.0

    def ask(self, state: Any, *, all_of_them: bool = False) -> dict[str, float]:
        """The figures of a state by name."""
        known = {name: float(value) for name, value in state.values.items()}
        began = time.monotonic()
        if all_of_them or began >= self._again:
            for name in COMPUTED:
                value = getattr(state, name)
                if value is not None:
                    known[name] = float(value)
            now = time.monotonic()
            self._again = now + min((now - began) / SHARE, LONGEST)
        return {name: value for name, value in known.items() if math.isfinite(value)}


def _look(ready: Prepared, state: Any, figures: dict[str, float]) -> PreviewLook:
    return PreviewLook(
        single(ready.part.from_tensor(state.image)),
        ready.part,
        state.iteration,
        state.total,
        state.seconds,
        state.progress,
        figures,
        state.phase,
        ready.spans,
    )


def _last_look(ready: Prepared, state: Any, prepared: float, stopped: bool) -> PreviewLook:
    """The last look, with the whole account."""
    from imagereg.provenance import describe

    part, recipe = ready.part, ready.recipe
    seconds = {"preprocess": prepared, "reconstruct": state.seconds}
    account = describe(part, recipe.resolved_method(), state, seconds=seconds, seed=recipe.execution.seed)
    account["finished"] = state.finished or ("stopped and kept" if stopped else "complete")
    account["recipe"] = recipe.to_yaml()
    return replace(
        _look(ready, state, _Asker().ask(state, all_of_them=True)),
        finished=account["finished"],
        metrics=dict(account["metrics"]),
        provenance=account,
        offers=tuple(
            replace(offer, image=single(part.from_tensor(offer.image)))
            for offer in offers(state.outcome.uncertainty)
        ),
    )


def single(image: Any) -> Any:
    """The array of a stack of one slice without the stack's axis; other arrays as they are."""
    array = np.asarray(image)
    return array[0] if array.ndim > 2 and array.shape[0] == 1 else array
