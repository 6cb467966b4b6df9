"""Jobs on a Dask cluster: what travels is a recipe, and what comes back is a line; never a volume."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imagereg.errors import ResourceError, UsageError
from imagereg.running.jobs import Job
from imagereg.running.reports import Report, perform

_ALONE = threading.Lock()
"""One piece of work at a time in a worker's process: the number of threads is the process's."""


class DaskCluster:
    """The workers of a `dask.distributed` scheduler, which must see the same files under the same names.

    A worker does one piece of work at a time, with all of its threads and within its limit of memory.

    Parameters
    ----------
    scheduler : address, such as 'tcp://node:8786'.
    resources : what each job takes of a worker, such as {"GPU": 1}; none where not given.

    Raises
    ------
    UsageError
        When dask.distributed is not installed.
    ResourceError
        When the scheduler does not answer.
    """

    threads: int | None = None

    def __init__(self, scheduler: str, resources: Mapping[str, float] | None = None) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise UsageError("a Dask cluster needs dask.distributed: pip install 'imagereg[dask]'.") from None
        try:
            self.client = Client(scheduler, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ResourceError(
                f"no Dask scheduler answers at {scheduler} ({error}); is it running?"
            ) from None
        self.address, self.resources = scheduler, dict(resources or {})

    @property
    def memory(self) -> int | None:
        """The least memory that a worker may take, None where none says."""
        workers = self.client.scheduler_info()["workers"].values()
        return min((worker["memory_limit"] for worker in workers if worker["memory_limit"]), default=None)

    def run(self, jobs: Sequence[Job], *, overwrite: bool = False) -> Iterator[Report]:
        """Carry out the jobs as workers become free; a lost worker's job goes on at another."""
        from concurrent.futures import CancelledError

        from distributed import Event, as_completed

        stop = Event(f"imagereg-stop-{uuid.uuid4().hex}", client=self.client)
        futures = {
            self.client.submit(
                _perform, job.name, job.recipe.plain(), job.slabs, overwrite, stop.name,
                key=f"imagereg-{job.name}-{uuid.uuid4().hex[:8]}", pure=False,
                resources=self.resources or None,
            ): job
            for job in jobs
        }  # fmt: skip
        try:
            for job in jobs:
                yield Report(job.name, "started")
            for future in as_completed(list(futures), loop=self.client.loop):
                if future.status == "finished":
                    yield future.result()
                elif future.status == "cancelled":
                    raise CancelledError
                else:
                    error = future.exception()
                    yield Report(futures[future].name, "failed", f"{type(error).__name__}: {error}")
        except (OSError, CancelledError) as error:
            raise ResourceError(
                f"the Dask scheduler at {self.address} went away ({type(error).__name__}); what is finished "
                "is kept: start a scheduler and give the same command again."
            ) from error
        finally:
            with contextlib.suppress(OSError, CancelledError):
                stop.set()
                self.client.cancel(list(futures))
            self.client.close(timeout=5)


def _perform(
    name: str, plain: Mapping[str, Any], slabs: Sequence[int] | None, overwrite: bool, stop: str
) -> Report:
    """What a worker does: the whole job, and its last report."""
    import time

    from distributed import Event, get_client, get_worker

    event, asked = Event(stop, client=get_client()), [time.monotonic()]
    worker = get_worker()
    execution = {**plain.get("execution", {})}
    execution["threads"] = execution.get("threads") or worker.state.nthreads
    mine, memory = {**plain, "execution": execution}, worker.memory_manager.memory_limit

    def cancelled() -> bool:
        if time.monotonic() - asked[0] < 2:
            return False
        asked[0] = time.monotonic()
        return bool(event.is_set())

    with _ALONE:
        reports = perform(name, mine, slabs, overwrite=overwrite, memory=memory, cancelled=cancelled)
        return deque(reports, maxlen=1)[0]
