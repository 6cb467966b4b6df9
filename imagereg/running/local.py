"""Run a recipe in this process: slab by slab, then write and account for it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.engine import Recorder, Result, grid_of
from imagereg.errors import UsageError
from imagereg.measurement import Measurement
from imagereg.methods.support.constant import is_constant, refuse_constant
from imagereg.recipe import Recipe
from imagereg.running.allocator import give_back
from imagereg.running.events import Clock, Event
from imagereg.running.halves import states_or_halves
from imagereg.running.ledger import FINISHED, Ledger, Record, write_beside
from imagereg.running.plan import Plan, Slab
from imagereg.running.prefetch import ahead, behind
from imagereg.running.prepared_run import Work, begin, prepared
from imagereg.running.slabs import (
    BESIDE,
    IMAGE,
    Slabs,
    beside_of,
    files_of,
    write_uncertainty,
    write_volume,
)
from imagereg.running.sources import protect_sources

if TYPE_CHECKING:
    from imagereg.running.setup import Opened
    from imagereg.solvers.state import State


def run(
    recipe: Recipe, *, overwrite: bool = False, memory: int | None = None, opened: Opened | None = None
) -> Iterator[Event]:
    """Carry out a recipe, one event at a time; the last one holds the result.

    A run that was killed goes on where it stopped when the same recipe is run again. Stop iterating to
    cancel: finished slabs stay for the next time.

    Parameters
    ----------
    recipe : what to do.
    overwrite : allow existing results to be replaced.
    memory : bytes that may be taken, where that is less than the machine has.
    opened : the input, where it was read before.

    Raises
    ------
    ImageregError
        With one sentence, for everything a user can mend.
    """
    protect_sources(recipe, output_names(recipe))
    clock = Clock()
    work = yield from begin(recipe, clock, memory, opened=opened)
    ledger, plan = work.ledger, work.plan
    done = ledger.open(output_names(work.recipe), overwrite=overwrite)
    try:
        todo = [slab for slab in plan.slabs if slab.index not in done]
        # The time is judged by the first slab to be done; whoever does it takes it out of here and lets go.
        at_hand: dict[int, Measurement] = {}
        if todo:
            at_hand[todo[0].index] = work.slab(todo[0])
            plan = work.timed(at_hand[todo[0].index])
        yield clock.event("plan", str(plan), values={"slabs": len(plan.slabs), "resumed": len(done)})
        last = yield from _reconstruct(work, ledger, todo, clock, at_hand)
        yield from conclude(work, ledger, clock, last)
    finally:
        ledger.abandon()


def conclude(work: Work, ledger: Ledger, clock: Clock, last: State | None = None) -> Iterator[Event]:
    """Write the result of a run whose slabs are all in the ledger; the last event holds it.

    Parameters
    ----------
    last : the last state, where it was reached in this process.
    """
    work.still_the_same()
    yield clock.event("write", f"writing {ledger.folder}", fraction=1.0)
    result = _write(work, ledger, last, clock)
    ledger.finish(output_names(work.recipe))
    yield clock.event("done", f"{ledger.folder} is complete", fraction=1.0, result=result)


def run_slabs(recipe: Recipe, indices: Sequence[int]) -> Iterator[Event]:
    """Reconstruct some slabs of a run that `imagereg.running.run_on_workers` has begun: what a worker does.

    The slabs are left in the run's folder, each with its record; whoever began the run writes the result.

    Raises
    ------
    ImageregError
        As `run` would, and where the folder belongs to another run.
    """
    clock = Clock()
    work = yield from begin(recipe, clock, resolved=True)
    ledger = work.ledger
    ledger.check()
    yield from _reconstruct(work, ledger, [work.plan.slabs[index] for index in indices], clock, {})
    yield clock.event("done", f"{len(indices)} slabs are done", fraction=1.0)


def estimate(recipe: Recipe, opened: Opened | None = None) -> tuple[Measurement, Plan]:
    """Check a recipe against its data without reconstructing: the preprocessed first slab, and the plan.

    Raises
    ------
    ImageregError
        As `run` would.
    """
    work = prepared(recipe, opened)
    part = work.slab(work.plan.slabs[0])
    return part, work.timed(part)


def output_names(recipe: Recipe) -> tuple[str, ...]:
    """What a run of the recipe writes into its folder."""
    images = files_of((IMAGE, *BESIDE), recipe.output.formats)
    return (*images, "preview.png", "uncertainty.png", "recipe.yaml", "history.csv", FINISHED)


def _reconstruct(
    work: Work, ledger: Ledger, todo: Sequence[Slab], clock: Clock, at_hand: dict[int, Measurement]
) -> Generator[Event, None, State | None]:
    """Slabs one after another into the ledger; the next one is read and the last one written meanwhile.

    Returns the last state of all, None where there was nothing to do.
    """
    from imagereg.provenance import describe

    last: State | None = None

    def ready(slab: Slab) -> Measurement:
        return at_hand.pop(slab.index) if slab.index in at_hand else work.slab(slab)

    with behind() as later:
        for slab, part in ahead(todo, ready):
            clock.lap("preprocess")
            recorder = Recorder()
            state: State | None = None
            for state in states_or_halves(work, part):
                if state.iteration == 1:
                    give_back()  # what the preparation took
                recorder.look(state)
                expected = recorder.expected(getattr(work.method, "tolerance", None))
                yield clock.of_state(state, slab, work.plan, expected)
            if state is None:
                raise UsageError(f"{work.method.name} gave no image: let it take at least one iteration.")
            account: dict[str, Any] = {}
            if slab is work.plan.slabs[-1]:
                # The same slab speaks for the whole, whoever does it and in which order.
                account = describe(part, work.method, state, seconds={}, seed=work.recipe.execution.seed)
            work.still_the_same()
            image = np.asarray(part.from_tensor(state.image), dtype=np.float32)
            beside, told = beside_of(state, part, work.recipe.uncertainty)
            if account:
                account.update(told)
            later(ledger.store, slab.index, image, Record(recorder.close(state), account), beside)
            # Nothing of this slab is to lie beside the next one.
            last = state if slab is todo[-1] else None
            del state, part, image, beside
            give_back()
            clock.lap("reconstruct")
    clock.lap("reconstruct")
    return last


def _write(work: Work, ledger: Ledger, last: State | None, clock: Clock) -> Result:
    """Write everything into the partial folder, from the slabs on disk."""
    from imagereg.preview import write_preview
    from imagereg.provenance import centre_from, describe_input, mark_end

    raw, tall, plan = work.raw, work.tall, work.plan
    records = [ledger.record(slab.index) for slab in plan.slabs]
    account = dict(records[-1].account)
    # What OMP_NUM_THREADS or a worker decided is part of how the image came about, down to its last bit.
    threads = account["device"]["threads"]
    recipe = work.recipe.model_copy(
        update={"execution": work.recipe.execution.model_copy(update={"threads": threads})}
    )
    history = tuple(
        {"slab": slab.index, **row}
        for slab, record in zip(plan.slabs, records, strict=True)
        for row in record.rows
    )
    voxel, unit = grid_of(tall)
    if len(voxel) >= 2:
        voxel = (*voxel[:-2], *(edge / recipe.physics.declared.finer for edge in voxel[-2:]))
    header = f"made by imagereg; run it again with: imagereg run {ledger.folder / 'recipe.yaml'}"
    text = recipe.to_yaml(header=header)
    whole = ledger.slab(0) if len(plan.slabs) == 1 else None
    if len(plan.slabs) > 1:
        # A worker is given the steps' parameters; here it is known which of them came from the data.
        account["preprocess"] = [dict(step) for step in work.shaped.history]
        account["centre_from"] = centre_from(work.shaped.history)
        account["notes"] = list(work.shaped.notes)
    account["findings"] = list(work.findings)
    account["input"] = describe_input(Path(recipe.input.path), format=raw.source.format if raw.source else "")
    account["recipe_sha256"] = recipe.sha256
    account["slabs"] = len(plan.slabs)
    account["metrics"] = {
        **account["metrics"],
        **_together([record.rows[-1] for record in records if record.rows]),
    }
    _refuse_constant(work, ledger)
    result = Result(whole, voxel, unit, history, account, last, text)
    for file in files_of((IMAGE,), recipe.output.formats):
        write_volume(ledger, plan, ledger.partial / file, result)
    spread = write_uncertainty(ledger, plan, recipe, result, last, tall)
    label = tall.grey
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
    mark_end(account, clock.laps)
    document = json.dumps(account, indent=2, default=_plain)
    write_beside(ledger.partial / FINISHED, lambda stream: stream.write(document.encode()))
    # The slabs go away with the partial folder; a mapped file that is still open stays readable.
    image = np.array(whole) if whole is not None else Slabs.of(ledger, plan)
    return replace(result, image=image, provenance=account, spread=spread)


def _refuse_constant(work: Work, ledger: Ledger) -> None:
    """Raise where all slabs hold one and the same value, and the data of the middle one do not."""
    slabs = work.plan.slabs
    values = []
    for slab in slabs:
        image = ledger.slab(slab.index)
        if not is_constant(image):
            return
        values.append(float(image.flat[0]))
    middle = len(slabs) // 2
    if is_constant(values):
        refuse_constant(work.method.name, ledger.slab(middle), work.slab(slabs[middle]).data[...])


def _together(finals: list[Mapping[str, Any]]) -> dict[str, float]:
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
