"""A slab that does not fit into memory is done in halves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from imagereg.errors import OutOfMemory

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.running.prepared_run import Work
    from imagereg.solvers.outcome import PixelUncertainty
    from imagereg.solvers.state import State


def states_or_halves(work: Work, part: Measurement) -> Iterator[State]:
    """The method at work on a slab; where memory does not suffice, on one half of its rows and the other.

    The last state then holds the rows of both. Rows that belong together (a coupled volume, a single row)
    cannot be parted, and the error stays.
    """
    try:
        yield from work.states(part)
        return
    except OutOfMemory:
        if part.rows < 2 or part.coupled or part.geometry is None:
            raise
    yield from _halves(work, part)


def _halves(work: Work, part: Measurement) -> Iterator[State]:
    import torch

    middle = part.rows // 2
    images: list[torch.Tensor] = []
    known: list[PixelUncertainty] = []
    state: State | None = None
    for rows in (slice(0, middle), slice(middle, part.rows)):
        half = work.with_physics(replace(part.select(rows=rows), physics=None))
        for state in states_or_halves(work, half):
            yield replace(state, phase=f"{state.phase} in halves".strip(), finished="")
        if state is None:
            return
        images.append(state.image)
        if state.outcome.uncertainty is not None:
            known.append(state.outcome.uncertainty)
    assert state is not None
    outcome = replace(state.outcome, uncertainty=_together(*known) if len(known) == 2 else None)
    notes = (*state.notes, "memory did not suffice: in halves")
    yield replace(state, image=torch.cat(images), outcome=outcome, notes=notes)


def _together(first: PixelUncertainty, second: PixelUncertainty) -> PixelUncertainty:
    """What both halves know of their error; samples have an axis of their own before the rows."""
    import torch

    joined = {
        name: torch.cat((getattr(first, name), value), dim=1 if name == "samples" else 0)
        for name in ("mean", "std", "samples", "lower", "upper")
        if (value := getattr(second, name)) is not None
    }
    return replace(second, **joined)
