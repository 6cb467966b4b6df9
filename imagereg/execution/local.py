"""Run a recipe in this process: read, preprocess, reconstruct slab by slab, write, account for it."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imagereg.engine import Recorder, Result, choose_device, grid_of, iterate
from imagereg.errors import ResourceError, UsageError
from imagereg.execution.ledger import FINISHED, Ledger, write_beside
from imagereg.execution.plan import Plan, Slab, make_plan, probe
from imagereg.execution.setup import load, with_physics
from imagereg.measurement import Measurement
from imagereg.preprocessing import apply_rows, apply_steps, resolve_steps, rows_after
from imagereg.recipe import Recipe

if TYPE_CHECKING:
    from imagereg.methods.base import Method
    from imagereg.solvers.base import State

Stage = Literal["read", "preprocess", "plan", "reconstruct", "write", "done"]

SUFFIX = {"ome-zarr": "image.ome.zarr", "tiff": "image.tif", "hdf5": "image.h5", "npy": "image.npy"}


@dataclass(frozen=True, eq=False)
class Event:
    """One thing that happened in a run.

    Attributes
    ----------
    stage : where the run is.
    message : one line for people.
    fraction : how much of the whole reconstruction is done, 0 to 1, where known.
    seconds : time since the run began.
    remaining : seconds to go, an estimate, where known.
    values : figures of the current state.
    state : the current state, for whoever draws it.
    result : the result, in the last event only.
    """

    stage: Stage
    message: str = ""
    fraction: float | None = None
    seconds: float = 0.0
    remaining: float | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    state: State | None = field(default=None, repr=False)
    result: Result | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a line of JSON."""
        plain: dict[str, Any] = {
            "event": self.stage,
            "message": self.message,
            "seconds": round(self.seconds, 3),
        }
        if self.fraction is not None:
            plain["fraction"] = round(self.fraction, 4)
        if self.remaining is not None:
            plain["remaining"] = round(self.remaining, 1)
        plain.update({key: value for key, value in self.values.items() if key not in plain})
        return plain


def run(recipe: Recipe, *, overwrite: bool = False) -> Iterator[Event]:
    """Carry out a recipe, one event at a time; the last one holds the result.

    A run that was killed goes on where it stopped when the same recipe is run again. Stop iterating to
    cancel: finished slabs stay for the next time.

    Raises
    ------
    ImageregError
        With one sentence, for everything a user can mend.
    """
    clock = _Clock()
    device = choose_device(recipe.execution.device)
    _set_threads(recipe.execution.threads)
    method = recipe.resolved_method()

    yield clock.event("read", f"reading {recipe.input.path}")
    raw = load(recipe)
    clock.lap("read")
    yield clock.event(
        "preprocess", ", ".join(step.name for step in recipe.steps()) or "nothing to preprocess"
    )
    steps = resolve_steps(raw, recipe.steps())
    shaped, tall = _shapes(raw, steps)
    clock.lap("preprocess")
    refusal = method.refusal(shaped)
    if refusal:
        raise UsageError(f"{refusal}.")
    plan = make_plan(tall, method, recipe)
    _check_memory(plan, method)
    recipe = recipe.resolved(
        preprocess=tuple({step.name: step.model_dump(mode="json")} for step in steps),
        execution=recipe.execution.model_copy(update={"slab": plan.slabs[0].stop - plan.slabs[0].start}),
    )

    names = (
        *(SUFFIX[format] for format in recipe.output.formats),
        "preview.png",
        "recipe.yaml",
        "history.csv",
    )
    stat = Path(recipe.input.path).stat()
    identity = {"recipe": recipe.sha256, "bytes": stat.st_size, "modified": stat.st_mtime_ns}
    ledger = Ledger(Path(recipe.output.folder), identity)
    done = ledger.open((*names, FINISHED), overwrite=overwrite)
    try:
        first = (
            _slab(raw, steps, plan, plan.slabs[0], recipe, device) if len(done) < len(plan.slabs) else shaped
        )
        plan = replace(plan, seconds=_seconds(first, method, plan, recipe, device))
        yield clock.event("plan", str(plan), values={"slabs": len(plan.slabs), "resumed": len(done)})
        last: State | None = None
        history: tuple[Mapping[str, float], ...] = ()
        for slab in plan.slabs:
            if slab.index in done:
                continue
            part = first if slab.index == 0 else _slab(raw, steps, plan, slab, recipe, device)
            clock.lap("preprocess")
            recorder = Recorder()
            for state in iterate(
                part,
                method,
                device=str(device),
                precision=recipe.execution.precision,
                seed=recipe.execution.seed,
            ):
                last = state
                recorder.look(state)
                yield clock.of_state(state, slab, plan)
            if last is None:
                raise UsageError(f"{method.name} gave no image: let it take at least one iteration.")
            rows = recorder.close(last)
            history = (*history, *({"slab": slab.index, **row} for row in rows))
            done[slab.index] = dict(rows[-1])
            ledger.store(slab.index, np.asarray(part.from_tensor(last.image), dtype=np.float32), rows[-1])
            clock.lap("reconstruct")
        yield clock.event("write", f"writing {ledger.folder}", fraction=1.0)
        result = _write(ledger, recipe, raw, tall, first, plan, method, last, history, done, clock)
        ledger.finish((*names, FINISHED))
    finally:
        ledger.abandon()
    yield clock.event("done", f"{ledger.folder} is complete", fraction=1.0, result=result)


def estimate(recipe: Recipe) -> tuple[Measurement, Plan]:
    """Check a recipe against its data without reconstructing: the preprocessed first slab, and the plan.

    Raises
    ------
    ImageregError
        As `run` would.
    """
    device = choose_device(recipe.execution.device)
    _set_threads(recipe.execution.threads)
    method = recipe.resolved_method()
    raw = load(recipe)
    steps = resolve_steps(raw, recipe.steps())
    shaped, tall = _shapes(raw, steps)
    refusal = method.refusal(shaped)
    if refusal:
        raise UsageError(f"{refusal}.")
    plan = make_plan(tall, method, recipe)
    _check_memory(plan, method)
    part = _slab(raw, steps, plan, plan.slabs[0], recipe, device)
    return part, replace(plan, seconds=_seconds(part, method, plan, recipe, device))


def _slab(
    raw: Measurement, steps: list[Any], plan: Plan, slab: Slab, recipe: Recipe, device: Any
) -> Measurement:
    """The preprocessed rows of one slab with their physics."""
    import torch

    part = apply_steps(raw, steps) if len(plan.slabs) == 1 else apply_rows(raw, steps, slab.start, slab.stop)
    return with_physics(part, recipe, device, getattr(torch, recipe.execution.precision))


def _shapes(raw: Measurement, steps: list[Any]) -> tuple[Measurement, Measurement]:
    """What the steps make of one row, and a stand-in of the shape that they make of all rows."""
    rows = rows_after(steps, raw.rows)
    if raw.coupled or raw.rows == 1:
        shaped = apply_steps(raw, steps)
        return shaped, shaped
    shaped = apply_rows(raw, steps, 0, 1)
    return shaped, _as_tall(shaped, rows)


def _as_tall(shaped: Measurement, rows: int) -> Measurement:
    """A stand-in with the shape that all rows will have after preprocessing, holding no data."""
    if shaped.rows == rows or shaped.geometry is None or shaped.coupled:
        return shaped
    geometry = replace(shaped.geometry, rows=rows)
    data = np.broadcast_to(np.float32(0), (geometry.views, rows, geometry.columns))
    return replace(shaped, data=data, geometry=geometry, weights=None, truth=None, flats=None, darks=None)


def _seconds(part: Measurement, method: Method, plan: Plan, recipe: Recipe, device: Any) -> float | None:
    import torch

    if part.physics is None or part.geometry is None:
        return None
    ready = part.ready(device=device, dtype=getattr(torch, recipe.execution.precision))
    return probe(ready, method, len(plan.slabs))


def _check_memory(plan: Plan, method: Method) -> None:
    if plan.memory > plan.available:
        raise ResourceError(
            f"{method.name} on {' x '.join(map(str, plan.shape))} voxels needs about "
            f"{plan.memory / 1e9:.3g} GB at a time, the machine has {plan.available / 1e9:.3g} GB; bin the "
            "data (step 'bin') or choose a smaller physics.volume."
        )


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def _write(
    ledger: Ledger,
    recipe: Recipe,
    raw: Measurement,
    tall: Measurement,
    part: Measurement,
    plan: Plan,
    method: Method,
    last: State | None,
    history: tuple[Mapping[str, float], ...],
    done: Mapping[int, Mapping[str, float]],
    clock: _Clock,
) -> Result:
    """Write everything into the partial folder, from the slabs on disk."""
    from imagereg.io import open_volume, write
    from imagereg.preview import write_preview
    from imagereg.provenance import describe, describe_input

    voxel, unit = grid_of(tall)
    header = f"made by imagereg; run it again with: imagereg run {ledger.folder / 'recipe.yaml'}"
    text = recipe.to_yaml(header=header)
    whole = ledger.slab(0) if len(plan.slabs) == 1 else None
    seconds = clock.laps
    account = describe(part, method, last, seconds=seconds, seed=recipe.execution.seed, image=whole)
    account["input"] = describe_input(Path(recipe.input.path), format=raw.source.format if raw.source else "")
    account["recipe_sha256"] = recipe.sha256
    account["slabs"] = len(plan.slabs)
    account["metrics"] = {**account["metrics"], **_together(list(done.values()))}
    result = Result(whole, voxel, unit, history, account, last, text)
    for format in recipe.output.formats:
        path = ledger.partial / SUFFIX[format]
        if whole is not None:
            write(result, path, overwrite=True)
            continue
        with open_volume(
            path, plan.shape, voxel=voxel, unit=unit, metadata=account, recipe=text, overwrite=True
        ) as volume:
            for slab in plan.slabs:
                volume[slab.rows] = ledger.slab(slab.index)
    label = "attenuation in 1/mm" if tall.geometry is not None else ""
    middle_slab = plan.slabs[len(plan.slabs) // 2]
    write_preview(
        ledger.slab(middle_slab.index), ledger.partial / "preview.png", voxel=voxel, unit=unit, label=label
    )
    write_beside(ledger.partial / "recipe.yaml", lambda stream: stream.write(text.encode()))
    if recipe.output.history and history:
        table = io.StringIO()
        columns = list(dict.fromkeys(key for row in history for key in row))
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(history)
        write_beside(ledger.partial / "history.csv", lambda stream: stream.write(table.getvalue().encode()))
    clock.lap("write")
    account["seconds"] = {name: round(value, 4) for name, value in clock.laps.items()}
    document = json.dumps(account, indent=2, default=_plain)
    write_beside(ledger.partial / FINISHED, lambda stream: stream.write(document.encode()))
    # The slabs go away with the partial folder; a mapped file that is still open stays readable.
    image = np.array(whole) if whole is not None else _Slabs([ledger.slab(s.index) for s in plan.slabs], plan)
    return replace(result, image=image, provenance=account)


class _Slabs:
    """The image of a run in several slabs, read from disk where it is looked at."""

    def __init__(self, parts: list[Any], plan: Plan) -> None:
        self._parts, self._plan = parts, plan
        self.shape, self.dtype, self.ndim = plan.shape, np.dtype(np.float32), len(plan.shape)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            index = range(self.shape[0])[index]
            slab = next(s for s in self._plan.slabs if s.start <= index < s.stop)
            return np.asarray(self._parts[slab.index][index - slab.start])
        return np.asarray(self)[index]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        whole = np.concatenate(self._parts)
        return whole if dtype is None else whole.astype(dtype)


def _together(finals: list[Mapping[str, float]]) -> dict[str, float]:
    """Figures of a whole run from those of its slabs: objectives add up, the worst gap counts."""
    found: dict[str, float] = {}
    for name, combine in (
        ("residual", lambda values: float(np.sqrt(np.mean(np.square(values))))),
        ("objective", sum),
        ("gap", max),
    ):
        values = [row[name] for row in finals if name in row]
        if len(values) == len(finals) and finals and np.isfinite(values).all():
            found[name] = float(combine(values))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)


class _Clock:
    """Time since the start, time of each stage, and how much is to go."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self._first_state: float | None = None
        self.laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._last
        self._last = now
        self.laps["total"] = now - self._began

    def event(self, stage: Stage, message: str, **more: Any) -> Event:
        return Event(stage, message, seconds=time.perf_counter() - self._began, **more)

    def of_state(self, state: State, slab: Slab, plan: Plan) -> Event:
        now = time.perf_counter()
        done = slab.index + (state.progress or 0.0)
        fraction = done / len(plan.slabs)
        if self._first_state is None:
            self._first_state = now - state.seconds
        remaining = (now - self._first_state) * (1 / fraction - 1) if fraction > 0 else None
        where = f"slab {slab.index + 1}/{len(plan.slabs)} " if len(plan.slabs) > 1 else ""
        of = f"/{state.total}" if state.total else ""
        message = f"{where}{state.phase + ' ' if state.phase else ''}iteration {state.iteration}{of}"
        if state.finished:
            message += f": {state.finished}"
        return self.event(
            "reconstruct",
            message,
            fraction=min(1.0, fraction),
            remaining=remaining,
            values={"iteration": state.iteration, "total": state.total, "slab": slab.index},
            state=state,
        )
