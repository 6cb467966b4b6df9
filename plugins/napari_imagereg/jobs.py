"""Work away from the GUI's thread: previews in a generator worker, volumes in a process of their own."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from imagereg.errors import ImageregError, ResourceError
from imagereg.io.atomic import replacing
from imagereg.recipe import Recipe
from imagereg.running.allocator import give_back
from napari_imagereg.torch_start import make_torch_safe

_log = logging.getLogger("imagereg.napari")

CANCELLED = 130
"""Exit code of a run that was interrupted."""

SWITCH = 5e-4
"""Seconds after which a working thread hands the interpreter over, in a process with a GUI."""

OUT_OF_RESOURCES = 4
"""Exit code of a run that needs more memory or disk than there is."""


class ThreadJob(QObject):
    """Runs one generator in a thread and hands its values over to the GUI's thread.

    Newest wins: `start` ends what is running without keeping it. Values pass through a slot that holds the
    newest one only, so a slow GUI never falls behind. `failed` tells the sentence and whether memory or
    another resource ran out.
    """

    looked = Signal(object)
    finished = Signal(object)
    failed = Signal(str, bool)
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
            main = threading.main_thread()
            try:
                make_torch_safe()
                for last in make(keep):
                    if abandon.is_set() or not main.is_alive():
                        return
                    with self._lock:
                        if self._abandon is abandon:
                            self._newest = last
                outcome: tuple[str, Any] = ("finished", last)
            except ImageregError as error:
                outcome = ("failed", (str(error), isinstance(error, ResourceError)))
            except Exception as error:
                _log.exception("a preview failed")
                text = " ".join(str(error).split())
                outcome = ("failed", (f"unexpected {type(error).__name__}: {text}", _is_memory(error)))
            with self._lock:
                if self._abandon is abandon:
                    self._outcome = outcome
            give_back()

        # No daemon: at exit Python would kill it inside torch, which aborts the process.
        self._thread = threading.Thread(target=work, name="imagereg-preview")
        # The GUI asks for the interpreter hundreds of times to draw once; at Python's own 5 ms it would wait.
        sys.setswitchinterval(SWITCH)
        self._thread.start()
        self._timer.start()

    def stop_and_keep(self) -> None:
        """Ask the work to end and keep what it has."""
        self._keep.set()

    def abandon(self) -> None:
        """Tell the thread to end, touching nothing of Qt: also right when the GUI is gone already."""
        self._abandon.set()
        self._keep.set()

    def cancel(self) -> None:
        """Drop the work at once; its values are not shown any more. The thread ends at its next step."""
        if self._thread is None:
            return
        self.abandon()
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
            self.ended.emit()
            if kind == "finished":
                self.finished.emit(value)
            else:
                self.failed.emit(*value)


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


class VolumeJob(QObject):
    """A whole volume in a process of its own: `imagereg run --json`, which outlives the viewer.

    Its lines go to a log beside the output, so that a viewer that comes back can follow them.
    """

    progressed = Signal(object)
    finished = Signal(str)
    failed = Signal(str, bool)
    cancelled = Signal()
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

    @property
    def pid(self) -> int | None:
        """Number of the process, None where none runs."""
        return None if self._process is None else self._process.pid

    def start(self, recipe: Recipe, recipe_path: Path) -> None:
        """Write the recipe and run it."""
        recipe_path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(recipe_path, overwrite=True) as partial:
            partial.write_text(recipe.to_yaml(), encoding="utf-8")
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

    def end(self) -> None:
        """Interrupt the process and stop following it: the viewer closes."""
        self.cancel()
        self.forget()

    def forget(self) -> None:
        """Stop following; the process goes on."""
        self._timer.stop()
        self._process = None

    def _poll(self) -> None:
        assert self._process is not None
        assert self._log is not None
        # The code is asked for before the lines are read, so that no line of an ended process is missed.
        code = self._process.poll()
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        complete = text.rpartition(b"\n")[0]
        self._read += len(complete) + bool(complete)
        for line in complete.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict) or "event" not in event:
                continue
            if event["event"] == "error":
                self._error = event["message"]
            else:
                self.progressed.emit(event)
        if code is None:
            return
        self.forget()
        self.ended.emit()
        if code == 0:
            self.finished.emit(self._folder)
        elif code in (CANCELLED, -signal.SIGINT):
            self.cancelled.emit()
        else:
            sentence = self._error or f"the run ended with code {code}; its log is {self._log}."
            self.failed.emit(sentence, code == OUT_OF_RESOURCES)
