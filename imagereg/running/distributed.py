"""One coupled volume on several processes: each holds some of its rows and asks its neighbours for theirs."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from imagereg.engine import Recorder
from imagereg.errors import ImageregError, UsageError
from imagereg.methods.registry import methods
from imagereg.recipe import Recipe
from imagereg.running.configure_process import own_process
from imagereg.running.events import Clock, Event
from imagereg.running.ledger import Record
from imagereg.running.local import conclude
from imagereg.running.plan import Slab
from imagereg.running.prepared_run import Work, prepared
from imagereg.running.processes import limit_threads


def run_parted(work: Work, workers: int, threads: int, clock: Clock) -> Iterator[Event]:
    """Reconstruct the volume of a parallel scan on several processes, with what couples its rows.

    Sums over the volume and the rows next door go through torch.distributed (Gloo). Up to rounding the image
    is that of a single process. A run that is cut off begins anew.

    Raises
    ------
    UsageError
        When the scan's rows do not project on their own, or the method needs the whole volume at once.
    ImageregError
        When a process ends before its time, in one sentence.
    """
    slabs = _shares(work, workers)
    parted = replace(work, plan=replace(work.plan, slabs=slabs))
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes, processes = [], []
        for slab in slabs:
            here, there = spawn.Pipe()
            shares = tuple(one.stop - one.start for one in slabs)
            arguments = (there, slab.index, shares, work.recipe.plain(), str(Path(folder) / "meet"), threads)
            process = spawn.Process(target=_serve, args=arguments, name=f"imagereg-{slab.index}", daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
        try:
            yield from _watch(pipes, clock)
        finally:
            for process in processes:
                process.terminate()
                process.join()
    clock.lap("reconstruct")
    yield from conclude(parted, work.ledger, clock)


def _shares(work: Work, workers: int) -> tuple[Slab, ...]:
    """The rows of each process, as many as there are or the volume has rows."""
    geometry, grid = work.raw.geometry, work.recipe.physics.volume
    if geometry is None or geometry.kind != "parallel":
        kind = "images" if geometry is None else f"a {geometry.kind} beam"
        raise UsageError(
            f"--workers: a coupled volume is parted by the rows of a parallel scan, not of {kind}."
        )
    if grid is not None and len(grid.shape) == 3:
        raise UsageError("--workers: give physics.volume for one row (two numbers), the rows are parted.")
    if not work.method.divisible:
        raise UsageError(
            f"--workers: {work.method.name} needs the whole coupled volume in one process; use one worker, "
            f"or one of {', '.join(name for name, kind in methods().items() if kind().divisible)}."
        )
    rows = work.plan.shape[0]
    edges = np.linspace(0, rows, min(workers, rows) + 1).round().astype(int).tolist()
    return tuple(Slab(k, *pair) for k, pair in enumerate(pairwise(edges)))


def _watch(pipes: list[Connection], clock: Clock) -> Iterator[Event]:
    """What the first process says of its progress, until all are done."""
    left = list(pipes)
    while left:
        ready = wait(left)
        for pipe in [pipe for pipe in left if pipe in ready]:
            try:
                said = pipe.recv()
            except (EOFError, OSError):
                raise ImageregError(
                    "a process of the volume ended before its time, perhaps for want of memory; take more "
                    "workers on machines of more memory, and begin again."
                ) from None
            if said is None:
                left.remove(pipe)
            elif isinstance(said, str):
                raise ImageregError(said)
            else:
                iteration, total = said
                yield clock.of_workers(
                    f"iteration {iteration}/{total}", iteration / (total or iteration), 0, 1
                )


def _serve(
    pipe: Connection, rank: int, shares: tuple[int, ...], plain: dict[str, Any], meet: str, threads: int
) -> None:
    limit_threads(threads)
    own_process()
    try:
        _reconstruct(pipe, rank, shares, Recipe.of_mapping(plain), meet)
        pipe.send(None)
    except ImageregError as error:
        pipe.send(str(error))


def _reconstruct(pipe: Connection, rank: int, shares: tuple[int, ...], recipe: Recipe, meet: str) -> None:
    """One process's rows: preprocessed, reconstructed with the others, put into the ledger."""
    import torch.distributed as net

    from imagereg.physics.distributed import Part, working_on
    from imagereg.preprocessing import apply_rows
    from imagereg.provenance import describe
    from imagereg.running.setup import with_grid

    part = Part(rank, shares)
    # Read as rows that do not know of each other, so that no process preprocesses more than its own.
    alone = prepared(recipe.with_values({"physics.coupled": False, "execution.slab": None}))
    rows = apply_rows(alone.raw, alone.steps, part.first, part.first + shares[rank])
    work = replace(alone, recipe=recipe)
    mine = work.with_physics(with_grid(replace(rows, volume=None), recipe))
    net.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=len(shares))
    recorder, state = Recorder(), None
    with working_on(part):
        for state in work.states(mine):
            recorder.look(state)
            if rank == 0:
                pipe.send((state.iteration, state.total))
        if state is None:
            raise UsageError(f"{work.method.name} gave no image: let it take at least one iteration.")
        history = recorder.close(state)
        account: dict[str, Any] = {}
        if rank == len(shares) - 1:
            account = describe(mine, work.method, state, seconds={}, seed=recipe.execution.seed)
    net.barrier()
    net.destroy_process_group()
    image = np.asarray(mine.from_tensor(state.image), dtype=np.float32)
    # Figures of the whole are the same in every process; the first one's are kept.
    work.ledger.store(rank, image, Record(history if rank == 0 else (), account))
