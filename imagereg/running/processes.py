"""Several worker processes on this machine, each with its share of the threads and a GPU of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from imagereg.cores import usable_cores
from imagereg.errors import UsageError
from imagereg.running.jobs import Job
from imagereg.running.plan import total_memory
from imagereg.running.reports import Report, perform

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
TRIES = 2
"""A worker may be killed from outside (out of memory): its job goes on where it was, once."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    slot: int
    job: Job | None = None


class Processes:
    """A pool of processes that outlives the death of any of them.

    Parameters
    ----------
    workers : number of processes.
    threads : threads of each; the machine's cores divided among the workers where not given.

    The memory of the machine is divided among them too.

    Raises
    ------
    UsageError
        When there is no worker.
    """

    def __init__(self, workers: int, threads: int | None = None) -> None:
        if workers < 1:
            raise UsageError(f"workers = {workers}: at least one is needed.")
        self.workers = workers
        self.threads = threads or max(1, usable_cores() // workers)
        self.memory = total_memory() // workers

    def run(self, jobs: Sequence[Job], *, overwrite: bool = False) -> Iterator[Report]:
        """Carry out the jobs as workers become free."""
        waiting, tries = deque(jobs), dict.fromkeys((job.name for job in jobs), 0)
        pool = [self._start(slot, overwrite) for slot in range(min(self.workers, len(jobs)))]
        try:
            while waiting or any(worker.job for worker in pool):
                for worker in pool:
                    if worker.job is None and waiting:
                        worker.job = waiting.popleft()
                        tries[worker.job.name] += 1
                        worker.pipe.send((worker.job.name, worker.job.recipe.plain(), worker.job.slabs))
                        yield Report(worker.job.name, "started")
                busy = [worker for worker in pool if worker.job]
                for ready in wait([worker.pipe for worker in busy]):
                    worker = next(w for w in busy if w.pipe is ready)
                    assert worker.job is not None
                    try:
                        report = worker.pipe.recv()
                    except (EOFError, OSError):
                        lost, place = worker.job, pool.index(worker)
                        worker.process.join()
                        code = worker.process.exitcode
                        pool[place] = self._start(worker.slot, overwrite)
                        if tries[lost.name] < TRIES:
                            waiting.appendleft(lost)
                            yield Report(
                                lost.name, "progress", f"its process ended ({code}); going on with it"
                            )
                        else:
                            said = f"its process ended twice ({code}), perhaps for want of memory; take fewer"
                            yield Report(lost.name, "failed", said)
                        continue
                    yield report
                    if report.kind in ("done", "failed"):
                        worker.job = None
        finally:
            for worker in pool:
                worker.pipe.close()
                worker.process.terminate()
            for worker in pool:
                worker.process.join(5)
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()

    def _start(self, slot: int, overwrite: bool) -> _Worker:
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        process = spawn.Process(
            target=_serve,
            args=(there, slot, self.threads, self.memory, overwrite),
            name=f"imagereg-{slot}",
            daemon=True,
        )
        process.start()
        there.close()
        return _Worker(process, here, slot)


def limit_threads(threads: int) -> None:
    """Give a new process its share of threads and no interrupts, before it imports what counts them."""
    # A Ctrl-C goes to every process of the terminal; the one that watches decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _THREADS:
        os.environ[name] = str(threads)


def _serve(pipe: Connection, slot: int, threads: int, memory: int, overwrite: bool) -> None:
    """The worker's life: take a job, run it, tell, until the pipe closes."""
    limit_threads(threads)
    while True:
        try:
            name, plain, slabs = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            mine = _on_own_device(plain, slot, threads)
            for report in perform(name, mine, slabs, overwrite=overwrite, memory=memory):
                pipe.send(report)
        except BrokenPipeError:
            return
        except Exception as error:  # a defect of a method must not take the other jobs along
            pipe.send(Report(name, "failed", f"{type(error).__name__}: {error}"))


def _on_own_device(plain: dict[str, Any], slot: int, threads: int) -> dict[str, Any]:
    """The recipe with this worker's threads, and its own GPU where there are several."""
    execution = {**plain.get("execution", {})}
    execution["threads"] = execution.get("threads") or threads
    if execution.get("device", "auto") in ("auto", "cuda"):
        import torch

        if torch.cuda.device_count() > 1:
            execution["device"] = f"cuda:{slot % torch.cuda.device_count()}"
    return {**plain, "execution": execution}
