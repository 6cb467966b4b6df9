"""Work away from the GUI's thread: previews in a generator worker, volumes in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from imagereg.errors import ImageregError
from imagereg.measurement import Measurement
from imagereg.recipe import Recipe

EVERY = 0.125
"""Seconds between two looks at a running solver: 8 Hz is live and leaves the GUI its time."""


@dataclass(frozen=True, eq=False)
class Look:
    """What the GUI sees of a running preview."""

    image: Any
    iteration: int
    total: int | None
    seconds: float
    residual: float | None = None
    objective: float | None = None
    phase: str = ""
    finished: str = ""
    notes: tuple[str, ...] = ()
    measurement: Measurement | None = field(default=None, repr=False)
    metrics: dict[str, float] = field(default_factory=dict)


def preview_looks(
    recipe: Recipe, measurement: Measurement, row: int, stop: threading.Event
) -> Iterator[Look]:
    """Preprocess one row and reconstruct it, one look every `EVERY` seconds.

    `stop` ends the iteration and keeps the image so far.
    """
    import torch

    from imagereg.engine import choose_device, figures, iterate
    from imagereg.execution.setup import with_grid, with_physics
    from imagereg.preprocessing import apply_steps, resolve_steps

    # One core stays with the GUI; sharing all of them makes both slower.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    steps = resolve_steps(measurement, recipe.steps())
    part = measurement.select(rows=slice(row, row + 1)) if measurement.rows > 1 else measurement
    part = with_grid(apply_steps(part, steps), recipe)
    part = with_physics(part, recipe, choose_device(recipe.execution.device), torch.float32)
    shown = 0.0
    states = iterate(
        part,
        recipe.resolved_method(),
        device=recipe.execution.device,
        precision=recipe.execution.precision,
        seed=recipe.execution.seed,
    )
    for state in states:
        now = time.monotonic()
        last = bool(state.finished) or stop.is_set()
        if not last and now - shown < EVERY:
            continue
        shown = now
        numbers = figures(state) if last or state.iteration % 4 == 0 else {}
        metrics: dict[str, float] = {}
        if last and part.truth is not None:
            from imagereg.provenance import metrics_of

            metrics = metrics_of(part, state)
        yield Look(
            np.squeeze(np.asarray(part.from_tensor(state.image))),
            state.iteration,
            state.total,
            state.seconds,
            numbers.get("residual"),
            numbers.get("objective"),
            state.phase,
            state.finished or ("stopped and kept" if stop.is_set() else ""),
            part.notes,
            part if last else None,
            metrics,
        )
        if stop.is_set():
            return


class Job(QObject):
    """Runs one generator in a thread and hands its values over to the GUI's thread.

    Newest wins: `start` ends what is running without keeping it. Values pass through a slot that holds the
    newest one only, so a slow GUI never falls behind.
    """

    looked = Signal(object)
    finished = Signal(object)
    failed = Signal(str)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread: threading.Thread | None = None
        self._abandon = threading.Event()
        self._keep = threading.Event()
        self._lock = threading.Lock()
        self._newest: Any = None
        self._outcome: tuple[str, Any] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(30)
        self._timer.timeout.connect(self._poll)

    @property
    def running(self) -> bool:
        """True while a generator is at work."""
        return self._thread is not None

    def start(self, make: Callable[[threading.Event], Iterator[Any]]) -> None:
        """Start the generator that `make(keep)` gives; `keep` is set when it shall end early and keep."""
        self.cancel()
        abandon, keep = threading.Event(), threading.Event()
        self._abandon, self._keep = abandon, keep
        self._newest, self._outcome = None, None

        def work() -> None:
            last: Any = None
            try:
                for last in make(keep):
                    if abandon.is_set():
                        return
                    with self._lock:
                        if self._abandon is abandon:
                            self._newest = last
                outcome = ("finished", last)
            except ImageregError as error:
                outcome = ("failed", str(error))
            except Exception as error:
                outcome = ("failed", f"unexpected {type(error).__name__}: {error}")
            with self._lock:
                if self._abandon is abandon:
                    self._outcome = outcome

        self._thread = threading.Thread(target=work, name="imagereg-preview", daemon=True)
        self._thread.start()
        self._timer.start()

    def stop_and_keep(self) -> None:
        """Ask the work to end and keep what it has."""
        self._keep.set()

    def cancel(self) -> None:
        """Drop the work at once; its values are not shown any more. The thread ends at its next step."""
        if self._thread is None:
            return
        self._abandon.set()
        self._keep.set()
        self._thread = None
        self._timer.stop()
        with self._lock:
            self._newest, self._outcome = None, None
        self.ended.emit()

    def _poll(self) -> None:
        with self._lock:
            newest, self._newest = self._newest, None
            outcome = self._outcome
        if newest is not None:
            self.looked.emit(newest)
        if outcome is not None:
            self._thread = None
            self._timer.stop()
            kind, value = outcome
            (self.finished if kind == "finished" else self.failed).emit(value)
            self.ended.emit()


class VolumeJob(QObject):
    """A whole volume in a process of its own: `imagereg run --json`, which outlives the viewer.

    Its lines go to a log beside the output, so that a viewer that comes back can follow them.
    """

    progressed = Signal(object)
    finished = Signal(str)
    failed = Signal(str)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._read = 0
        self._folder = ""
        self._error = ""
        self._timer = QTimer(self)
        self._timer.setInterval(150)
        self._timer.timeout.connect(self._poll)

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self._process is not None

    def start(self, recipe: Recipe, recipe_path: Path) -> None:
        """Write the recipe and run it."""
        recipe_path.parent.mkdir(parents=True, exist_ok=True)
        recipe_path.write_text(recipe.to_yaml(), encoding="utf-8")
        self._folder, self._read, self._error = str(recipe.output.folder), 0, ""
        self._log = recipe_path.with_suffix(".log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "imagereg", "run", str(recipe_path), "--json", "-o", self._folder],
                stdout=log,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._timer.start()

    def cancel(self) -> None:
        """Interrupt the process as Ctrl-C does: finished slabs stay and the same run goes on later."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)

    def forget(self) -> None:
        """Stop following; the process goes on."""
        self._timer.stop()
        self._process = None

    def _poll(self) -> None:
        assert self._process is not None
        assert self._log is not None
        code = self._process.poll()
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        complete = text.rpartition(b"\n")[0]
        self._read += len(complete) + bool(complete)
        for line in complete.splitlines():
            event = json.loads(line)
            if event["event"] == "error":
                self._error = event["message"]
            else:
                self.progressed.emit(event)
        if code is None:
            return
        self.forget()
        if code == 0:
            self.finished.emit(self._folder)
        else:
            self.failed.emit(self._error or f"the run ended with code {code}")
        self.ended.emit()
