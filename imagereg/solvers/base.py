"""The one loop: solvers are mathematics only, states are what the world sees of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.stopping import Rule

Memory = dict[str, Any]
"""Everything a solver needs to go on, tensors and plain numbers by name; `image` is always there."""


class Solver(Protocol):
    """An algorithm: a frozen dataclass of its own settings, with no state and no loop."""

    def check(self, problem: Problem) -> None:
        """Raise `Refusal` when the problem has a term that this algorithm cannot take."""

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """What the algorithm knows before its first step."""

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """What it knows after one more step. `memory` itself is not changed."""


@dataclass(frozen=True, eq=False)
class State:
    """One step of any iterative work: the image so far and, for whoever looks, how good it is.

    Parameters
    ----------
    image : (B, C, ...) the current image.
    iteration : number of steps taken.
    total : number of steps at most, where known.
    seconds : time since the work began.
    phase : what is going on, where the work has several parts ('pre-estimate', 'training').
    finished : why the work ended, on its last state only.
    notes : what was chosen for the user, one sentence each.
    values : quantities that the work itself gives; they go before the computed ones of the same name.
    memory : what the solver needs to go on from here (see `Memory`).
    """

    image: torch.Tensor
    iteration: int
    total: int | None = None
    seconds: float = 0.0
    phase: str = ""
    finished: str = ""
    notes: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict, repr=False)
    problem: Problem | None = field(default=None, repr=False)
    solver: Any = field(default=None, repr=False)

    @cached_property
    def objective(self) -> float | None:
        """fidelity(A x) + sum of priors, summed over the batch; None where there is no objective."""
        if "objective" in self.values or self.problem is None:
            return self.values.get("objective")
        return self._fit[0]

    @cached_property
    def residual(self) -> float | None:
        """||A x - y|| / ||y||; None where the work has no data term."""
        if "residual" in self.values or self.problem is None:
            return self.values.get("residual")
        known = self.memory.get("forward")
        return self._fit[1] if known is None else self.problem.residual(self.image, forward=known)

    @cached_property
    def _fit(self) -> tuple[float | None, float]:
        """Objective and residual from one A x, which may have to be computed and is not kept."""
        assert self.problem is not None
        forward = self.memory.get("forward")
        if forward is None:
            with torch.no_grad():
                forward = self.problem.physics.A(self.image)
        objective = self.problem.objective(self.image, forward=forward)
        return objective, self.problem.residual(self.image, forward=forward)

    @cached_property
    def gap(self) -> float | None:
        """Relative duality gap (P - D) / (1 + |P|), where the solver has a dual variable; else None."""
        gap = getattr(self.solver, "gap", None)
        if "gap" in self.values or self.problem is None or gap is None:
            return self.values.get("gap")
        return gap(self.problem, self.memory)

    @property
    def progress(self) -> float | None:
        """Fraction of the steps taken, where the total is known."""
        return None if not self.total else min(1.0, self.iteration / self.total)


def iterate(
    solver: Solver,
    problem: Problem,
    *,
    total: int,
    start: torch.Tensor | None = None,
    stop: Rule | None = None,
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
