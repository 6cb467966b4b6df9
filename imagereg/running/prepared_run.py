"""What a run is before anything is computed: data read, steps resolved, slabs planned."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.engine import choose_device, iterate
from imagereg.errors import InputError, ResourceError, UsageError
from imagereg.measurement import Measurement
from imagereg.methods.support.whole_object import on_whole_object
from imagereg.preprocessing import health, looked_at, prepare_rows, resolve_steps, rows_after
from imagereg.recipe import Recipe
from imagereg.running.events import Clock, Event
from imagereg.running.ledger import Ledger
from imagereg.running.plan import PROBED, Plan, Slab, make_plan, probe
from imagereg.running.setup import Opened, load_input, with_physics
from imagereg.running.sources import Stamp, stamp_of
from imagereg.running.threads import use_threads

if TYPE_CHECKING:
    from imagereg.methods.base import Method
    from imagereg.solvers.state import State


@dataclass(frozen=True, eq=False)
class Work:
    """A recipe with its data at hand.

    Attributes
    ----------
    recipe : with every step's parameters and the slab's size filled in: it is what is done, exactly.
    raw : what was read, lazily.
    steps : the steps, resolved.
    shaped : what they make of one row.
    tall : a stand-in with the shape of what they make of all rows.
    plan : the slabs.
    method : the method with its parameters.
    device : where it is done.
    findings : what is wrong or unusual with the data, one sentence each.
    stamp : what the input looked like on the disk when reading began.
    """

    recipe: Recipe
    raw: Measurement
    steps: list[Any]
    shaped: Measurement
    tall: Measurement
    plan: Plan
    method: Method
    device: Any
    findings: tuple[str, ...] = ()
    stamp: Stamp = ()

    def still_the_same(self) -> None:
        """Raise where the input is no longer what it was when reading began.

        Raises
        ------
        InputError
            Slabs that are finished stay, and are of the former input.
        """
        if self.stamp and stamp_of(Path(self.recipe.input.path)) != self.stamp:
            raise InputError(
                f"{self.recipe.input.path} was changed or replaced while it was read; what is finished is of "
                "the former file and stays: put that file back and run again, or choose another output."
            )

    @property
    def ledger(self) -> Ledger:
        """The account of finished slabs in the output folder; it belongs to this recipe and this input."""
        stat = Path(self.recipe.input.path).stat()
        identity = {"recipe": self.recipe.sha256, "bytes": stat.st_size, "modified": stat.st_mtime_ns}
        return Ledger(Path(self.recipe.output.folder), identity)

    def slab(self, slab: Slab) -> Measurement:
        """The preprocessed rows of one slab with their physics."""
        return self.with_physics(prepare_rows(self.raw, self.steps, slab.start, slab.stop))

    def with_physics(self, part: Measurement) -> Measurement:
        """Preprocessed rows with the physics that the recipe asks for."""
        import torch

        return with_physics(part, self.recipe, self.device, getattr(torch, self.recipe.execution.precision))

    def states(self, part: Measurement, *, alone: bool = False) -> Iterator[State]:
        """The method at work on a slab; `alone` without the runs that error bars ask for."""
        execution = self.recipe.execution
        return iterate(
            part,
            self.method,
            device=str(self.device),
            precision=execution.precision,
            seed=execution.seed,
            uncertainty=None if alone else self.recipe.uncertainty,
        )

    def timed(self, part: Measurement) -> Plan:
        """The plan with the time that it will take, judged by a slab."""
        early = getattr(self.method, "tolerance", None) is not None
        return replace(self.plan, seconds=self.seconds(part), early=early)

    def seconds(self, part: Measurement) -> float | None:
        """What all slabs will take, from a look at a few rows of one; None where there is no scan."""
        import torch

        if part.physics is None or part.geometry is None:
            return None
        few = part if part.coupled else part.select(rows=slice(0, min(part.rows, PROBED)))
        few = self.with_physics(replace(few, physics=None)) if few is not part else part
        ready = few.ready(device=self.device, dtype=getattr(torch, self.recipe.execution.precision))
        times = len(self.plan.slabs) * part.rows / few.rows
        states = None if part.coupled else lambda: self.states(few, alone=True)
        return probe(ready, self.method, times, self.recipe.uncertainty, states=states)


def begin(
    recipe: Recipe,
    clock: Clock,
    memory: int | None = None,
    *,
    resolved: bool = False,
    findings: bool = True,
    opened: Opened | None = None,
) -> Generator[Event, None, Work]:
    """Read, resolve and plan for so many bytes of memory; the events on the way, and the work at the end.

    Parameters
    ----------
    resolved : the recipe's steps have all their parameters, so that the data need not be looked at.
    findings : look at the data's health and tell what is found.
    opened : the input, where it was read before.

    Raises
    ------
    ImageregError
        With one sentence, for everything a user can mend.
    """
    device = choose_device(recipe.execution.device)
    use_threads(recipe.execution.threads)
    method = recipe.resolved_method()
    yield clock.event("read", f"reading {recipe.input.path}")
    stamp = stamp_of(recipe.input.path)
    raw = load_input(recipe, opened)
    clock.lap("read")
    told: tuple[str, ...] = ()
    if findings and not resolved:
        names = [step.name for step in recipe.steps()]
        known = opened.found(recipe) if opened is not None and opened.holds(recipe) else None
        told = tuple(finding.in_view_of(names) for finding in (health(raw) if known is None else known))
        for sentence in told:
            yield clock.event("preprocess", f"finding: {sentence}")
    yield clock.event(
        "preprocess", ", ".join(step.name for step in recipe.steps()) or "nothing to preprocess"
    )
    steps = list(recipe.steps()) if resolved else resolve_steps(raw, recipe.steps())
    if raw.volume is not None and not method.pixelwise:
        raw = on_whole_object(raw, method, looked_at(raw, steps), cover=recipe.physics.cover)
    shaped, tall = _shapes(raw, steps)
    clock.lap("preprocess")
    refusal = method.refusal(shaped)
    if refusal:
        raise UsageError(f"{refusal}.")
    plan = make_plan(tall, method, recipe, memory)
    _check_memory(plan, method)
    settled = recipe.resolved(
        preprocess=tuple({step.name: step.model_dump(mode="json")} for step in steps),
        execution=recipe.execution.model_copy(update={"slab": plan.slabs[0].stop - plan.slabs[0].start}),
    )
    return Work(settled, raw, steps, shaped, tall, plan, method, device, told, stamp)


def prepared(recipe: Recipe, opened: Opened | None = None) -> Work:
    """The work of a recipe, for whoever does not watch it being read nor looks at its health."""
    events = begin(recipe, Clock(), findings=False, opened=opened)
    while True:
        try:
            next(events)
        except StopIteration as end:
            work: Work = end.value
            return work


def _shapes(raw: Measurement, steps: list[Any]) -> tuple[Measurement, Measurement]:
    """What the steps make of one row, and a stand-in of the shape that they make of all rows."""
    shaped = prepare_rows(raw, steps, 0, 1)
    return shaped, _as_tall(shaped, rows_after(steps, raw.rows))


def _as_tall(shaped: Measurement, rows: int) -> Measurement:
    """A stand-in with the shape that all rows will have after preprocessing, holding no data."""
    if shaped.rows == rows or shaped.coupled:
        return shaped
    if shaped.geometry is None:
        stack = np.broadcast_to(np.float32(0), (rows, *shaped.data.shape[1:]))
        return replace(shaped, data=stack, weights=None, truth=None)
    geometry = replace(shaped.geometry, rows=rows)
    data = np.broadcast_to(np.float32(0), (geometry.views, rows, geometry.columns))
    return replace(shaped, data=data, geometry=geometry, weights=None, truth=None, flats=None, darks=None)


def _check_memory(plan: Plan, method: Method) -> None:
    if plan.memory > plan.available:
        raise ResourceError(
            f"{method.name} on {' x '.join(map(str, plan.shape))} voxels needs about "
            f"{plan.memory / 1e9:.3g} GB at a time, there are {plan.available / 1e9:.3g} GB; bin the "
            "data (step 'bin') or choose a smaller physics.volume."
        )
