"""What happens in a run, one event at a time, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from weakref import ref

if TYPE_CHECKING:
    from imagereg.engine import Result
    from imagereg.running.plan import Plan, Slab
    from imagereg.solvers.state import State

Stage = Literal["read", "preprocess", "plan", "reconstruct", "write", "done"]


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
    watched : the current state, which an event does not keep: see `state`.
    result : the result, in the last event only.
    """

    stage: Stage
    message: str = ""
    fraction: float | None = None
    seconds: float = 0.0
    remaining: float | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    watched: ref[State] | None = field(default=None, repr=False)
    result: Result | None = field(default=None, repr=False)

    @property
    def state(self) -> State | None:
        """The state that the run is at, for whoever draws it; None when the run has gone on.

        An event that is still at hand must not keep a whole slab in memory while the next one begins.
        """
        return None if self.watched is None else self.watched()

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


class Clock:
    """Time since the start, time of each stage, and how much is to go."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self._anchor: tuple[float, float] | None = None
        self.laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """The time since the last lap goes to a stage."""
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._last
        self._last = now
        self.laps["total"] = now - self._began

    def event(self, stage: Stage, message: str, **more: Any) -> Event:
        """An event of this moment."""
        return Event(stage, message, seconds=time.perf_counter() - self._began, **more)

    def of_state(self, state: State, slab: Slab, plan: Plan, expected: int | None = None) -> Event:
        """A state of a slab, and how much of the whole is to go.

        Parameters
        ----------
        expected : number of steps after which the slab is likely to stop, where that is before its total.
        """
        now = time.perf_counter()
        done = slab.index + (state.progress or 0.0)
        fraction = done / len(plan.slabs)
        likely = fraction
        if expected is not None and state.total and expected < state.total:
            likely = (slab.index + min(1.0, state.iteration / expected)) / len(plan.slabs)
        where = f"slab {slab.index + 1}/{len(plan.slabs)} " if len(plan.slabs) > 1 else ""
        of = f"/{state.total}" if state.total else ""
        message = f"{where}{state.phase + ' ' if state.phase else ''}iteration {state.iteration}{of}"
        if state.finished:
            message += f": {state.finished}"
        return self.event(
            "reconstruct",
            message,
            fraction=min(1.0, fraction),
            remaining=self._remaining(likely, now),
            values={"iteration": state.iteration, "total": state.total, "slab": slab.index},
            watched=ref(state),
        )

    def of_workers(self, message: str, done: float, begun: float, slabs: int) -> Event:
        """What workers have done of a run: `done` slabs since this call of it, after `begun` earlier ones."""
        now = time.perf_counter()
        return self.event(
            "reconstruct",
            message,
            fraction=min(1.0, (begun + done) / slabs),
            remaining=self._remaining(done / max(slabs - begun, 1), now),
        )

    def _remaining(self, fraction: float, now: float) -> float | None:
        """Seconds to go at the pace since the first look, which the preparation before it does not slow."""
        if self._anchor is None or fraction < self._anchor[1]:
            self._anchor = (now, fraction)
            return None
        began, before = self._anchor
        if fraction <= before:
            return None
        return (now - began) * max(0.0, 1 - fraction) / (fraction - before)
