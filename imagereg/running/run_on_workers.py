"""One run spread over workers: each does slabs, all write into one folder, and the result is one run's."""

from __future__ import annotations

from collections.abc import Iterator

from imagereg.errors import ImageregError, ResourceError, UsageError
from imagereg.recipe import Recipe
from imagereg.running.distributed import run_parted
from imagereg.running.events import Clock, Event
from imagereg.running.jobs import Job
from imagereg.running.local import conclude, output_names
from imagereg.running.prepared_run import Work, begin
from imagereg.running.processes import Processes
from imagereg.running.reports import Executor, Report
from imagereg.running.sources import protect_sources


def run_spread(recipe: Recipe, executor: Executor, *, overwrite: bool = False) -> Iterator[Event]:
    """Carry out a recipe on many workers, one event at a time; the last one holds the result.

    What travels is the recipe and the number of a slab. Finished slabs lie in the run's folder, which all
    workers must see under the same name; a worker, a scheduler or this process may be killed at any time, and
    the same call does the rest. The image is that of `run` with as many threads as a worker has.

    Parameters
    ----------
    executor : where the slabs are done.
    overwrite : allow existing results to be replaced.

    Raises
    ------
    ImageregError
        As `run` would, and when a slab could not be done.
    """
    protect_sources(recipe, output_names(recipe))
    clock = Clock()
    if recipe.execution.threads is None and executor.threads is not None:
        recipe = recipe.with_values({"execution.threads": executor.threads})
    work = yield from begin(recipe, clock, executor.memory)
    if work.raw.coupled:
        yield from _coupled(work, executor, clock, overwrite)
        return
    ledger, slabs = work.ledger, work.plan.slabs
    done = ledger.open(output_names(work.recipe), overwrite=overwrite)
    try:
        jobs = [
            Job(f"slab-{slab.index:05d}", work.recipe, slabs=(slab.index,))
            for slab in slabs
            if slab.index not in done
        ]
        yield clock.event("plan", str(work.plan), values={"slabs": len(slabs), "resumed": len(done)})
        parts = dict.fromkeys((job.name for job in jobs), 0.0)
        failures: list[Report] = []
        for report in executor.run(jobs):
            parts[report.job] = report.fraction
            if report.kind == "failed":
                failures.append(report)
            said = f"{report.job} {report.message or report.kind}"
            yield clock.of_workers(said, sum(parts.values()), len(done), len(slabs))
        clock.lap("reconstruct")
        if failures:
            first = failures[0]
            full = all(failure.code == ResourceError.exit_code for failure in failures)
            raise (ResourceError if full else ImageregError)(
                f"{len(failures)} of {len(slabs)} slabs could not be done ({first.job}: {first.message}); "
                "the others are kept, and the same command does the rest."
            )
        yield from conclude(work, ledger, clock)
    finally:
        ledger.abandon()


def _coupled(work: Work, executor: Executor, clock: Clock, overwrite: bool) -> Iterator[Event]:
    """A volume whose rows belong together, on the processes of one machine."""
    if not isinstance(executor, Processes):
        raise UsageError("a coupled volume is parted among processes of one machine: give --workers instead.")
    ledger = work.ledger
    ledger.open(output_names(work.recipe), overwrite=overwrite)
    try:
        yield clock.event("plan", str(work.plan), values={"slabs": 1, "resumed": 0})
        yield from run_parted(
            work, executor.workers, work.recipe.execution.threads or executor.threads, clock
        )
    finally:
        ledger.abandon()
