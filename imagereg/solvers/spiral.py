"""SPIRAL-TAP: separable quadratic approximations of a Poisson likelihood, each with a penalty over x >= 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from imagereg.fidelities.base import Fidelity, align
from imagereg.priors.base import BoundedProx
from imagereg.solvers.problem import Problem, Refusal, inner
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class Spiral:
    """x+ = argmin_{x >= 0} 1/2 ||x - s||² + pen(x) / α,  s = x - ∇F(x) / α,  F(x) = f(A x).

    α is the Barzilai-Borwein curvature <d, ∇²F(x) d> / ||d||² along the last step d, in [smallest, largest].
    A step is taken when it makes Φ = F + pen smaller than the largest of its last `past` + 1 values by
    decrease · α/2 ||x+ - x||²; else α grows by `growth` and the sub-problem is solved again. A penalty
    without a value (cycle spinning) has no such test: every step is taken that is not too steep, and α is at
    least the curvature along x itself, the largest but for data near a pole where A and x are not negative.
    Each item of a batch has its own α.

    Parameters
    ----------
    past : values of Φ that may be exceeded; 0 makes every step descend.
    decrease, growth : constants of the test, σ and η of the paper.
    steepening : a step is too long, too, when it ends where f curves so many times more than where it
        began: the likelihood of counts has a pole at A x = 0, and next to it α is so large that x stands
        still.
    smallest, largest : bounds of α; at `largest` a step is taken whatever Φ says.

    References
    ----------
    Harmany, Marcia, Willett, "This is SPIRAL-TAP: Sparse Poisson Intensity Reconstruction ALgorithms - Theory
    and Practice", IEEE Trans. Image Process. 21 (2012) 1084, doi 10.1109/TIP.2011.2168410, arXiv 1005.4274.
    """

    past: int = 10
    decrease: float = 0.1
    growth: float = 2.0
    steepening: float = 100.0
    smallest: float = 1e-30
    largest: float = 1e30

    def check(self, problem: Problem) -> None:
        """Refuse several penalties, one whose sub-problem has no solver, and bounds below 0."""
        if len(problem.priors) > 1:
            raise Refusal("SPIRAL takes one penalty; add the others to a PDHG or ADMM problem.")
        for prior in problem.priors:
            if not isinstance(prior, BoundedProx):
                raise Refusal(
                    f"SPIRAL has no solver for {type(prior).__name__} over x >= 0, for it has no "
                    "`prox_within`; take PDHG."
                )
        if problem.bounds[0] is None or problem.bounds[0] < 0:
            raise Refusal(f"SPIRAL keeps x >= 0 and the bounds are {problem.bounds}: give (0, None).")
        if type(problem.fidelity).curvature is Fidelity.curvature:
            name = type(problem.fidelity).__name__
            raise Refusal(f"SPIRAL needs the curvature of the data term, which {name} lacks; take PDHG.")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start; by default A^T y, scaled so that its projections sum up to the measured ones."""
        image = problem.project(self._start(problem) if start is None else start)
        forward = problem.physics.A(image)
        return {
            "image": image,
            "forward": forward,
            "gradient": self._gradient(problem, image, forward),
            "warm": None,
            # Along the image itself: a direction along the gradient can have A d where A x is near 0,
            # and there the likelihood of counts curves without bound.
            "curvature": self._curvature(problem, forward, forward, image, None),
            "objectives": [self._objective(problem, image, forward)],
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One accepted step, with as many solutions of the sub-problem as it takes."""
        image, gradient, past = memory["image"], memory["gradient"], memory["objectives"]
        alpha = memory["curvature"].clamp(self.smallest, self.largest)
        tested = past[-1] is not None
        done = torch.zeros_like(alpha, dtype=torch.bool)
        new, forward, objective, taken = image, memory["forward"], past[-1], alpha
        warm, solves = memory["warm"], 0
        while not bool(done.all()):
            trial, warm = self._solve(problem, image - gradient / alpha, 1 / alpha, warm)
            solves += 1
            trial_Ax = problem.physics.A(trial)
            reached = self._objective(problem, trial, trial_Ax)
            good = ~self._steepened(problem, memory["forward"], trial_Ax)
            if tested:
                step = trial - image
                assert reached is not None  # the penalty of one problem has a value always or never
                ceiling = torch.stack(past).amax(0)
                # Without room for rounding, α would run away once Φ cannot fall in this precision.
                room = 8 * torch.finfo(image.dtype).eps * ceiling.abs()
                least = self.decrease * alpha / 2 * inner(step, step)
                good &= reached.reshape_as(alpha) <= (ceiling + room).reshape_as(alpha) - least
            good |= alpha >= self.largest
            first = good & ~done
            new = torch.where(first, trial, new)
            forward = torch.where(align(first.flatten(), trial_Ax), trial_Ax, forward)
            objective = torch.where(first.flatten(), reached, objective) if tested else None
            taken = torch.where(first, alpha, taken)
            done |= good
            alpha = torch.where(done, alpha, alpha * self.growth)
        step = new - image
        after = self._gradient(problem, new, forward)
        curvature = self._curvature(problem, forward, forward - memory["forward"], step, taken)
        if not tested:
            # Long steps along flat directions are for those who can take them back.
            curvature = curvature.maximum(self._curvature(problem, forward, forward, new, taken))
        return {
            "image": new,
            "forward": forward,
            "gradient": after,
            "warm": warm,
            "curvature": curvature,
            "objectives": [*past, objective][-(self.past + 1) :],
            "solves": solves,
        }

    def _steepened(self, problem: Problem, forward: torch.Tensor, trial_Ax: torch.Tensor) -> torch.Tensor:
        """Whether f curves much more at the end of a step, along it, than where it began."""
        step = trial_Ax - forward
        before, after = (problem.fidelity.curvature(u, step) for u in (forward, trial_Ax))
        return (after > self.steepening * before).reshape(-1, *[1] * (problem.like.ndim - 1))

    def _curvature(
        self,
        problem: Problem,
        forward: torch.Tensor,
        moved: torch.Tensor,
        step: torch.Tensor,
        before: torch.Tensor | None,
    ) -> torch.Tensor:
        """<A d, f''(A x) A d> / ||d||², shape (B, 1, ...); the last one where there was no step."""
        square = inner(step, step)
        rise = problem.fidelity.curvature(forward, moved).reshape_as(square)
        alpha = rise / torch.where(square > 0, square, 1.0)
        fallback = torch.ones_like(alpha) if before is None else before
        return torch.where((square > 0) & (alpha > 0) & torch.isfinite(alpha), alpha, fallback)

    @staticmethod
    def _start(problem: Problem) -> torch.Tensor:
        data = problem.fidelity.estimate
        back = problem.physics.A_adjoint(data)
        trial_Ax = problem.physics.A(back)
        scale = inner(torch.ones_like(data), data) / inner(torch.ones_like(trial_Ax), trial_Ax).clamp_min(
            torch.finfo(data.dtype).tiny
        )
        return back * align(scale.flatten(), back)

    @staticmethod
    def _gradient(problem: Problem, image: torch.Tensor, forward: torch.Tensor) -> torch.Tensor:
        return problem.physics.A_adjoint(problem.fidelity.grad(forward))

    @staticmethod
    def _objective(problem: Problem, image: torch.Tensor, forward: torch.Tensor) -> torch.Tensor | None:
        value = problem.fidelity.fn(forward).double()
        for prior in problem.priors:
            penalty = prior.fn(image)
            if penalty is None:
                return None
            value = value + penalty.double()
        return value

    @staticmethod
    def _solve(
        problem: Problem, s: torch.Tensor, gamma: torch.Tensor, warm: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if not problem.priors:
            return problem.project(s), None
        penalty: Any = problem.priors[0]
        return penalty.prox_within(s, gamma, problem.bounds, warm)
