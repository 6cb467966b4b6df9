"""What a run tells whoever watches many of them, and the run that tells it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from imagereg.errors import ImageregError, ResourceError
from imagereg.recipe import Recipe
from imagereg.running.configure_process import own_process
from imagereg.running.jobs import Job

Kind = Literal["started", "progress", "done", "kept", "failed"]


@dataclass(frozen=True)
class Report:
    """One thing that happened to one job.

    Attributes
    ----------
    job : its name.
    kind : 'kept' is a job that an earlier call had finished.
    message : one line for people.
    fraction : how much of the job is done, 0 to 1.
    seconds : time that the job has taken.
    metrics : figures of the result, with 'done' and 'kept'.
    code : exit code of the error, with 'failed'.
    """

    job: str
    kind: Kind
    message: str = ""
    fraction: float = 0.0
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    code: int = ImageregError.exit_code

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a line of JSON."""
        plain: dict[str, Any] = {"event": self.kind, "job": self.job, "message": self.message}
        plain.update(fraction=round(self.fraction, 4), seconds=round(self.seconds, 3))
        return {**plain, "metrics": dict(self.metrics)} if self.metrics else plain


class Executor(Protocol):
    """Where jobs run. Stop iterating to cancel: what runs ends, and finished slabs stay for the next time."""

    @property
    def threads(self) -> int | None:
        """Processor threads of each worker, where the executor decides that."""
        ...

    @property
    def memory(self) -> int | None:
        """Bytes of memory of each worker, where they have less than a machine."""
        ...

    def run(self, jobs: Sequence[Job], *, overwrite: bool = False) -> Iterator[Report]:
        """Carry out jobs in any order and report; a job that fails does not stop the others."""
        ...


def perform(
    name: str,
    plain: Mapping[str, Any],
    slabs: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
    memory: int | None = None,
    every: float = 0.5,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Run one recipe, or some slabs of it, and report: what workers of every kind do.

    Parameters
    ----------
    name : the job's name.
    plain : the recipe as plain values, so that it travels: paths, never data.
    slabs : the slabs to do of a run that was begun elsewhere; the whole run if not given.
    overwrite : allow existing results to be replaced.
    memory : bytes that the worker may take, where that is less than the machine has.
    every : seconds between reports of progress.
    cancelled : asked at each step; the run ends when it says so.
    """
    from imagereg.running.local import run, run_slabs

    own_process()
    began = told = time.perf_counter()
    try:
        recipe = Recipe.of_mapping(plain)
        events = (
            run(recipe, overwrite=overwrite, memory=memory) if slabs is None else run_slabs(recipe, slabs)
        )
        for event in events:
            now = time.perf_counter()
            if cancelled():
                events.close()  # type: ignore[attr-defined]
                yield Report(name, "failed", "cancelled", seconds=now - began)
                return
            if event.stage == "done":
                figures = dict(event.result.metrics) if event.result else {}
                yield Report(name, "done", event.message, 1.0, now - began, figures)
            elif now - told >= every:
                told = now
                yield Report(name, "progress", event.message, event.fraction or 0.0, now - began)
    except ImageregError as error:
        seconds = time.perf_counter() - began
        yield Report(name, "failed", str(error), seconds=seconds, code=error.exit_code)
    except MemoryError:
        said = "out of memory; give it fewer workers, a smaller execution.slab or execution.memory"
        seconds = time.perf_counter() - began
        yield Report(name, "failed", said, seconds=seconds, code=ResourceError.exit_code)


class InProcess:
    """One job after the other in this process, with all its threads."""

    threads: int | None = None
    memory: int | None = None

    def run(self, jobs: Sequence[Job], *, overwrite: bool = False) -> Iterator[Report]:
        """Carry out the jobs in order."""
        for job in jobs:
            yield Report(job.name, "started")
            yield from perform(job.name, job.recipe.plain(), job.slabs, overwrite=overwrite)
