"""What a preview will take: memory by the engine's plan, time by one projection beside the work."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from imagereg.errors import ImageregError
from imagereg.measurement import Measurement
from imagereg.recipe import Recipe
from napari_imagereg.jobs import ThreadJob

if TYPE_CHECKING:
    from imagereg.running.plan import Plan
    from napari_imagereg.desk import Desk
    from napari_imagereg.explorer import Explorer

WAIT = 500
"""Milliseconds without an edit after which the estimate is made."""

LARGEST = 2**25
"""Values of a coupled volume that are still preprocessed for an estimate, which then costs a second."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What an estimate stands on: a preprocessed slice, and the seconds of one projection of it."""

    part: Measurement
    pass_seconds: float | None


def ground_of(recipe: Recipe, measurement: Measurement, row: int, *, limit: int, threads: int) -> Ground:
    """Prepare a slice as a preview does and project it once; what is too large is judged by its shape."""
    from imagereg.engine import prepare
    from imagereg.running.plan import pass_seconds
    from napari_imagereg.previewing import coarser, prepare_slice, without_centre

    if measurement.coupled and math.prod(measurement.data.shape) > LARGEST:
        return Ground(coarser(measurement, limit), None)
    bare = recipe.model_copy(update={"preprocess": without_centre(recipe.preprocess)})
    part = prepare_slice(bare, measurement, row, limit=limit, threads=threads).part
    if part.geometry is None:
        return Ground(part, None)
    execution = recipe.execution
    return Ground(part, pass_seconds(prepare(part, device=execution.device, precision=execution.precision)))


class Estimator(QObject):
    """Keeps the estimate beside the preview button true; it waits for pauses and gives way to the work."""

    takes = Signal(str, str, bool)

    def __init__(self, desk: Desk, explorer: Explorer) -> None:
        super().__init__(explorer)
        self._session, self._settings = desk.session, desk.settings
        self._work = explorer.job
        self._key: Any = None
        self._ground: Ground | None = None
        self._known: dict[tuple[str, str], tuple[float, int]] = {}
        self.job = ThreadJob(self)
        self.job.finished.connect(self._take)
        self.job.failed.connect(lambda sentence, _: self.takes.emit("", "", False))
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(WAIT)
        self._pause.timeout.connect(self._refresh)

    def edited(self) -> None:
        """Something changed: estimate anew soon."""
        self._pause.start()

    def give_way(self) -> None:
        """Work starts: nothing else is to be computed beside it."""
        self.job.cancel()
        self._pause.start()

    def learn(self, method: str, seconds: float, iterations: int) -> None:
        """A preview was measured: its time is better than any estimate."""
        self._known[method, str(self._session.uncertainty)] = (seconds, iterations)
        self._pause.start()

    def end(self) -> None:
        """Estimate no more."""
        self._pause.stop()
        self.job.cancel()

    def _refresh(self) -> None:
        session = self._session
        if session.measurement is None:
            self.takes.emit("", "", False)
            return
        if self._work.running:
            self._pause.start()
            return
        try:
            recipe = session.recipe()
        except ImageregError:
            self.takes.emit("", "", False)
            return
        key = _key(recipe, session.measurement)
        if key == self._key and self._ground is not None:
            self._say(recipe, self._ground)
            return
        if key != self._key:
            self._key, self._ground, self._known = key, None, {}
            self.job.cancel()
        if not self.job.running:
            measurement, row = session.measurement, session.row
            limits = {"limit": self._settings.preview_size, "threads": self._settings.threads}
            self.job.start(lambda keep: iter([ground_of(recipe, measurement, row, **limits)]))

    def _take(self, ground: Ground) -> None:
        self._ground = ground
        self._refresh()

    def _say(self, recipe: Recipe, ground: Ground) -> None:
        """Show what the plan says of one slice."""
        from imagereg.running.plan import make_plan, seconds_from_run, seconds_of

        method = recipe.resolved_method()
        plan = make_plan(ground.part, method, recipe)
        known = self._known.get((method.name, str(self._session.uncertainty)))
        if known is not None:
            plan = replace(plan, seconds=seconds_from_run(method, *known))
        elif ground.pass_seconds is not None:
            plan = replace(plan, seconds=seconds_of(method, ground.pass_seconds, asked=recipe.uncertainty))
        self.takes.emit(plan.brief, self._tip(plan, measured=known is not None), plan.memory > plan.available)

    @staticmethod
    def _tip(plan: Plan, *, measured: bool) -> str:
        by = "the last preview with this method" if measured else "one projection of this slice"
        time = f"; the time by {by}" if plan.seconds is not None else ""
        return f"A preview takes {plan}{time}. The output is written by whole volumes only."


def _key(recipe: Recipe, measurement: Measurement) -> Any:
    """What decides of the slice and of the time of one projection of it."""
    from napari_imagereg.previewing import without_centre

    execution, physics = recipe.execution, recipe.physics
    steps = without_centre(recipe.preprocess)
    return (id(measurement), str(steps), physics, execution.device, execution.precision, execution.threads)
