"""The simultaneous iterative reconstruction technique."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.solvers.linear import name_of, require_linear
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class SIRT:
    """x+ = P(x + relaxation C A^T R (y - A x)), R and C the inverse row and column sums of A >= 0.

    Without bounds it converges to the solution of least ||A x - y||_R; few steps regularise. P keeps to the
    bounds. Rays that miss the image and pixels that no ray meets are left out.

    Parameters
    ----------
    relaxation : between 0 and 2.

    References
    ----------
    J. Gregor and T. Benson, IEEE Trans. Med. Imaging 27 (2008) 918, doi:10.1109/TMI.2008.923696.
    """

    relaxation: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.relaxation < 2:
            raise UsageError(f"SIRT(relaxation={self.relaxation}): give a number between 0 and 2.")

    def check(self, problem: Problem) -> None:
        """Refuse priors, and operators with negative entries, whose row sums mean nothing."""
        require_linear(problem, "SIRT")
        if problem.priors:
            raise Refusal(f"SIRT takes no prior and was given {name_of(problem.priors[0])}; use PDHG.")
        fidelity = problem.fidelity
        if not isinstance(fidelity, LeastSquares) or fidelity.weights is not None:
            raise Refusal(
                f"SIRT brings weights of its own and takes no other {type(fidelity).__name__}; use FISTA."
            )
        with torch.no_grad():
            rows = problem.physics.A(torch.ones_like(problem.like))
            columns = problem.physics.A_adjoint(torch.ones_like(fidelity.data))
        for sums in (rows, columns):
            if float(sums.min()) < -1e-5 * float(sums.abs().max()):
                raise Refusal(
                    f"SIRT: {type(problem.physics).__name__} has negative entries, which row and column sums "
                    "do not bound; use CGLS."
                )

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start within the bounds, and the inverse sums."""
        image = problem.project(problem.like if start is None else start)
        physics = problem.physics
        return {
            "image": image,
            "forward": physics.A(image),
            "rows": _inverse(physics.A(torch.ones_like(image))),
            "columns": _inverse(physics.A_adjoint(torch.ones_like(problem.fidelity.data))),
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One forward and one back-projection."""
        misfit = memory["rows"] * (problem.fidelity.data - memory["forward"])
        change = memory["columns"] * problem.physics.A_adjoint(misfit)
        image = problem.project(memory["image"] + self.relaxation * change)
        return {**memory, "image": image, "forward": problem.physics.A(image)}


def _inverse(sums: torch.Tensor) -> torch.Tensor:
    """1 / sums, 0 where a sum is nothing beside the largest."""
    least = 1e-6 * float(sums.abs().max())
    return torch.where(sums > least, 1 / sums.clamp_min(max(least, torch.finfo(sums.dtype).tiny)), 0.0)
