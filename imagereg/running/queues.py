"""A Dask cluster of one's own: workers that are jobs of Slurm or another batch system, by dask-jobqueue."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence

from imagereg.errors import ResourceError, UsageError, did_you_mean
from imagereg.running.cluster import DaskCluster
from imagereg.running.jobs import Job
from imagereg.running.reports import Report

QUEUES = {
    "slurm": ("SLURMCluster", "sbatch"),
    "pbs": ("PBSCluster", "qsub"),
    "sge": ("SGECluster", "qsub"),
    "lsf": ("LSFCluster", "bsub"),
}
"""Batch systems: dask-jobqueue's class and the command that submits a job."""

EXAMPLE = "jobqueue: {{{kind}: {{cores: 8, memory: 64GB, queue: NAME, walltime: '04:00:00'}}}}"


class QueueCluster(DaskCluster):
    """Workers that are jobs of a batch system, submitted when there is work and cancelled at the end.

    What a job is (cores, memory, queue, account, walltime, what to load before) is said once, in Dask's own
    configuration: `jobqueue.slurm` in ~/.config/dask/jobqueue.yaml. A batch job is one worker process that
    takes one piece of work at a time, with all of the job's cores.

    Parameters
    ----------
    kind : the batch system, one of `QUEUES`.
    workers : number of batch jobs at most.
    resources : what each piece of work takes of a worker, and the worker announces, such as {"GPU": 1}.

    Raises
    ------
    UsageError
        When dask-jobqueue is not installed, or the configuration does not say what a job is.
    ResourceError
        When the batch system's command is not here.
    """

    def __init__(self, kind: str, workers: int, resources: Mapping[str, float] | None = None) -> None:
        if kind not in QUEUES:
            raise UsageError(f"--cluster {kind!r}: no such batch system{did_you_mean(kind, QUEUES)}")
        try:
            import dask
            import dask_jobqueue
        except ImportError:
            raise UsageError(
                "a batch system's cluster needs dask-jobqueue: pip install dask-jobqueue 'imagereg[dask]'."
            ) from None
        name, command = QUEUES[kind]
        said = {
            key: dask.config.get(f"jobqueue.{kind}.{key}", None)
            for key in ("cores", "memory", "worker-extra-args")
        }
        if not said["cores"] or not said["memory"]:
            raise UsageError(
                f"--cluster {kind}: how many cores and how much memory has a job? Write it into "
                f"~/.config/dask/jobqueue.yaml: {EXAMPLE.format(kind=kind)}"
            )
        if shutil.which(command) is None:
            raise ResourceError(
                f"--cluster {kind}: there is no command {command} here; call it on a node that submits jobs, "
                "or start the workers otherwise and give their --scheduler."
            )
        words = [*(said["worker-extra-args"] or []), "--nthreads", "1"]
        if resources:
            words += ["--resources", ",".join(f"{key}={value:g}" for key, value in resources.items())]
        # One process and one piece of work at a time: the kernels use all cores of the job.
        self.cluster = getattr(dask_jobqueue, name)(processes=1, worker_extra_args=words)
        super().__init__(self.cluster.scheduler_address, resources)
        self.workers, self.threads = workers, int(said["cores"])
        self._memory = dask.utils.parse_bytes(said["memory"])

    @property
    def memory(self) -> int:
        """The memory of a batch job."""
        return self._memory

    @property
    def script(self) -> str:
        """The batch job as it is submitted."""
        text: str = self.cluster.job_script()
        return text

    def run(self, jobs: Sequence[Job], *, overwrite: bool = False) -> Iterator[Report]:
        """Submit batch jobs, carry out what there is to do as they come up, and cancel them."""
        try:
            self._submit(min(self.workers, len(jobs)))
            yield from super().run(jobs, overwrite=overwrite)
        finally:
            # Closing complains of batch jobs that were never submitted.
            with contextlib.suppress(AssertionError):
                self.cluster.close(timeout=10)

    def _submit(self, count: int) -> None:
        async def submit() -> None:
            self.cluster.scale(jobs=count)
            await self.cluster

        # The same refusal comes back here and as a traceback in the log of the loop.
        log = logging.getLogger("tornado.application")
        log.addFilter(_nothing)
        try:
            self.cluster.sync(submit)
            # A batch job that ends before its time (walltime, a node lost) gets a successor.
            self.cluster.adapt(minimum_jobs=count, maximum_jobs=count)
        except RuntimeError as error:
            said = str(error).partition("stderr:")[2].strip() or str(error)
            raise ResourceError(
                f"the batch system refused the job ({' '.join(said.split())}); mend jobqueue.yaml, or see "
                "what its command says of a job of your own."
            ) from None
        finally:
            log.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
