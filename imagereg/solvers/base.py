"""The one loop: solvers are mathematics only, states are what the world sees of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch

from imagereg.solvers.outcome import NOTHING
from imagereg.solvers.state import Memory, State

if TYPE_CHECKING:
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.stopping import StoppingRule


class Solver(Protocol):
    """An algorithm: a frozen dataclass of its own settings, with no state and no loop.

    One that knows more than an image says it by `outcome(memory)`; one with a dual variable has
    `gap(problem, memory)`.
    """

    def check(self, problem: Problem) -> None:
        """Raise `Refusal` when the problem has a term that this algorithm cannot take."""

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """What the algorithm knows before its first step."""

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """What it knows after one more step. `memory` itself is not changed."""


def iterate(
    solver: Solver,
    problem: Problem,
    *,
    total: int,
    start: torch.Tensor | None = None,
    stop: StoppingRule | None = None,
    resume: State | None = None,
    notes: tuple[str, ...] = (),
) -> Iterator[State]:
    """Run `solver` on `problem`, one state a step, until `stop` says why or `total` steps are taken.

    Parameters
    ----------
    total : number of steps at most.
    start : (B, C, ...) first image; the solver's own choice where not given.
    stop : a stopping rule, or several combined with `|` and `&`.
    resume : a state of an earlier run of the same solver and problem to go on from.
    notes : sentences that every state carries.

    Raises
    ------
    Refusal
        Before the first step, when the solver cannot take a term of the problem.
    """
    solver.check(problem)
    outcome = getattr(solver, "outcome", None)
    began = time.perf_counter() - (resume.seconds if resume else 0.0)
    first = resume.iteration if resume else 0
    with torch.no_grad():
        memory = resume.memory if resume else solver.init(problem, start)
    previous = resume
    for iteration in range(first + 1, total + 1):
        with torch.no_grad():
            memory = solver.step(problem, memory)
            state = State(
                memory["image"],
                iteration,
                total,
                time.perf_counter() - began,
                memory=memory,
                outcome=outcome(memory) if outcome else NOTHING,
                problem=problem,
                solver=solver,
                notes=notes,
            )
            reason = memory.get("finished") or (stop(state, previous) if stop else "")
            if not reason and iteration == total:
                reason = f"{total} iterations"
        yield replace(state, finished=reason) if reason else state
        if reason:
            return
        previous = state
