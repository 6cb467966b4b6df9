"""What was tried: the finished runs of a session, two of which may carry the tags A and B."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from psygnal import Signal

from imagereg.methods.registry import methods


@dataclass(frozen=True, eq=False)
class Run:
    """One finished preview or volume, as the history shows it."""

    number: int
    method: str
    parameters: dict[str, Any]
    iterations: int
    seconds: float
    residual: float | None
    metrics: dict[str, float]
    layer: str
    recipe: str
    finished: str = ""
    tag: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """A layer's name: what was done, with its main parameter, or the name that the user gave."""
        if self.name:
            return self.name
        main = methods()[self.method].main if self.method in methods() else ""
        value = self.parameters.get(main)
        detail = (
            f" {main} {value:.3g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        )
        return f"{self.method}{detail} #{self.number}"


class History:
    """The runs in the order in which they ended; every change is announced."""

    runs_changed = Signal()

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._count = 0

    def add_run(self, **facts: Any) -> Run:
        """Enter a finished run in the history."""
        self._count += 1
        run = Run(number=self._count, **facts)
        self.runs.append(run)
        self.runs_changed.emit()
        return run

    def update_run(self, number: int, **facts: Any) -> None:
        """Change what the history says of a run; a tag is taken from the run that had it."""
        tag = facts.get("tag")
        self.runs = [
            replace(run, **facts)
            if run.number == number
            else (replace(run, tag="") if tag and run.tag == tag else run)
            for run in self.runs
        ]
        self.runs_changed.emit()

    def remove_run(self, number: int) -> None:
        """Take a run out of the history."""
        self.runs = [run for run in self.runs if run.number != number]
        self.runs_changed.emit()

    def tagged(self, tag: str) -> Run | None:
        """The run that carries a tag."""
        return next((run for run in self.runs if run.tag == tag), None)
