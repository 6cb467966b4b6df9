"""Conjugate gradients for least squares, plain or with quadratic priors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.solvers.linear import Block, advance, begin, data_block, penalty_block, require_least_squares
from imagereg.solvers.problem import Problem
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class CGLS:
    """min 1/2 ||A x - y||_w^2 + sum_i strength_i / 2 ||L_i x||^2 by CG on the stack [A; sqrt(strength) L].

    Without a prior, stopping early is what regularises: the number of steps is the parameter. Each item of
    a batch has its own step lengths.

    References
    ----------
    M. Hestenes and E. Stiefel, J. Res. Natl. Bur. Stand. 49 (1952) 409, doi:10.6028/jres.049.044;
    Å. Björck, Numerical Methods for Least Squares Problems (1996), doi:10.1137/1.9781611971484.
    """

    def check(self, problem: Problem) -> None:
        """Refuse other fidelities, other priors and bounds."""
        require_least_squares(problem, "CGLS")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start, 0 where not given, and the gradient there."""
        blocks = self._blocks(problem)
        if start is None:
            # At 0 nothing needs to be projected.
            Mx = [torch.zeros_like(problem.fidelity.data)]
            Mx += [block.forward(problem.like) for block in blocks[1:]]
            memory = begin(blocks, problem.like, Mx)
        else:
            memory = begin(blocks, start)
        return {**memory, "forward": memory["Mx"][0]}

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One step of conjugate gradients; it ends where the normal equations hold to rounding."""
        new = advance(self._blocks(problem), memory)
        room = (4 * torch.finfo(new["image"].dtype).eps) ** 2
        solved = bool((new["size"] <= room * new["first"]).all())
        finished = "the normal equations hold to rounding" if solved else ""
        return {**new, "forward": new["Mx"][0], "finished": finished}

    @staticmethod
    def _blocks(problem: Problem) -> list[Block]:
        terms = [penalty_block(prior.operator, prior.outer.strength) for prior in problem.priors]  # type: ignore[union-attr]
        return [data_block(problem), *terms]
