"""Majorisation-minimisation in generalised Krylov subspaces (MM-GKS), with restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from imagereg.errors import UsageError
from imagereg.priors.power import PowerPrior
from imagereg.solvers.base import Memory
from imagereg.solvers.problem import Refusal, inner
from imagereg.solvers.projected import ProjectedProblem, discrepancy_root, gcv_minimum

if TYPE_CHECKING:
    from imagereg.solvers.problem import Problem

ParameterRule = Literal["fixed", "discrepancy", "gcv"]
Columns = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class MMGKS:
    """min_x 1/2 ||A x - y||^2 + alpha sum phi(L x) over a growing subspace, phi a smoothed power.

    At u = L x_k the prior is replaced by the parabola of fixed curvature c = phi''(0) that touches it, with its
    minimum at w(u), and the quadratic problem

        min_z 1/2 ||A V z - y||^2 + (eta / 2) ||L V z - w(u)||^2,   eta = alpha c,

    is solved in the space V exactly, by thin QR factors of A V and L V. V then grows by the gradient
    A^T (A x - y) + eta L^T (L x - w(u)). After `restart` steps V starts again from x alone.

    Memory: 3 `restart` images and `restart` copies of the data. One step takes one A, one A^T and two L.

    Parameters
    ----------
    rule : how alpha is found. 'fixed': it is the prior's strength. 'discrepancy' and 'gcv' choose eta at every
        step in the current space and for each item, the prior's strength then being left out of account:
        'discrepancy' so that ||A x - y|| = safety * noise_norm, 'gcv' at the least generalised
        cross-validation. The memory holds the current alpha as `strength`, shape (B,).
    noise_norm : expected ||A x - y|| of each item at the true image, for 'discrepancy'.
    safety : factor on it, a little above 1.
    restart : dimension at which the space starts again.
    tolerance : an item ends when ||x_{k+1} - x_k|| <= tolerance ||x_{k+1}||, never tested in spaces of
        one or two dimensions, where x cannot move although it has far to go.

    References
    ----------
    Lanza, Morigi, Reichel, Sgallari, "A generalized Krylov subspace method for lp-lq minimization", SIAM J.
    Sci. Comput. 37 (2015), doi:10.1137/140967982; Buccini, Reichel, "Limited memory restarted lp-lq
    minimization methods using generalized Krylov subspaces", Adv. Comput. Math. 49 (2023),
    doi:10.1007/s10444-023-10023-0.
    """

    rule: ParameterRule = "fixed"
    noise_norm: Sequence[float] = ()
    safety: float = 1.01
    restart: int = 30
    tolerance: float = 1e-4

    def check(self, problem: Problem) -> None:
        """Refuse what is not one least-squares term and one smoothed power without bounds."""
        from imagereg.fidelities.least_squares import LeastSquares

        if not isinstance(problem.fidelity, LeastSquares):
            raise Refusal(
                f"MM-GKS: {type(problem.fidelity).__name__} is not a least-squares fidelity; use PDHG."
            )
        if len(problem.priors) != 1 or not isinstance(problem.priors[0], PowerPrior):
            named = " and ".join(type(prior).__name__ for prior in problem.priors) or "no prior"
            raise Refusal(f"MM-GKS takes one PowerPrior and was given {named}; use PDHG.")
        if problem.bounds != (None, None):
            raise Refusal(f"MM-GKS cannot keep to the bounds {problem.bounds}; use PDHG or leave them out.")
        if self.restart < 2:
            raise UsageError(f"MM-GKS restart = {self.restart}: give a number of at least 2.")
        items = problem.fidelity.data.shape[0]
        if self.rule == "discrepancy" and len(self.noise_norm) != items:
            raise UsageError(
                f"MM-GKS: the discrepancy principle needs the noise norm of each of {items} items and was given "
                f"{len(self.noise_norm)}; state the noise, or choose by 'gcv'."
            )

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """Start from `start`, or from A^T y, as the first direction of the space."""
        data, root = _weighted(problem)
        image = problem.physics.A_adjoint(data * root) if start is None else start
        items = image.shape[0]
        return {
            "image": image,
            "strength": torch.zeros(items, dtype=torch.float64, device=image.device),
            "done": torch.zeros(items, dtype=torch.bool, device=image.device),
            "finished": "",
            **self._space(problem, image, root),
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """Solve in the space, then let it grow by the gradient there."""
        data, root = _weighted(problem)
        prior = problem.priors[0]
        L, penalty = prior.operator, prior.outer
        assert isinstance(prior, PowerPrior)
        if len(memory["V"]) >= self.restart:
            memory = {**memory, **self._space(problem, memory["image"], root)}
        V, QA, QL, R_A, R_L = (memory[name] for name in ("V", "QA", "QL", "R_A", "R_L"))

        target = penalty.target(memory["penalised"])
        b = _dots(QA, data)
        tail = (inner(data, data).flatten().double() - b.square().sum(1)).clamp_min(0)
        small = ProjectedProblem.of(
            R_A, R_L, b, _dots(QL, target), tail=tail, size=data[0].numel()
        )
        curvature = torch.as_tensor(penalty.smoothing, dtype=torch.float64).to(data.device) ** (
            penalty.power - 2
        )
        eta = self._eta(small, penalty.strength, curvature.flatten())
        z = small.solve(eta)
        image, seen = _combine(V, z), _combine(QA, _times(R_A, z))
        penalised = _combine(QL, _times(R_L, z))

        moved = inner(image - memory["image"], image - memory["image"]).flatten()
        still = moved <= self.tolerance**2 * inner(image, image).flatten()
        done = memory["done"] | still if len(V) > 2 else memory["done"]
        kept = memory["done"].reshape(-1, *([1] * (image.ndim - 1)))
        image = torch.where(kept, memory["image"], image)
        alpha = torch.where(memory["done"], memory["strength"], eta / curvature.flatten())

        force = eta.to(image.dtype).reshape(kept.shape)
        gradient = problem.physics.A_adjoint((seen - data) * root) + force * L.A_adjoint(penalised - target)
        column, size = _orthogonal(V, gradient)
        column = torch.where(size > 1e-6 * inner(gradient, gradient).sqrt(), column, torch.zeros_like(column))
        QA, R_A = _append(QA, R_A, problem.physics.A(column) * root, column)
        QL, R_L = _append(QL, R_L, L.A(column), column)
        known = {} if problem.fidelity.weights is not None else {"forward": seen}
        return {
            "image": image,
            "penalised": penalised,
            "strength": alpha,
            "done": done,
            "finished": f"change below {self.tolerance:g}" if bool(done.all()) else "",
            "V": (*V, column),
            "QA": QA,
            "QL": QL,
            "R_A": R_A,
            "R_L": R_L,
            **known,
        }

    def _eta(self, small: ProjectedProblem, strength: Any, curvature: torch.Tensor) -> torch.Tensor:
        if self.rule == "gcv":
            return gcv_minimum(small)
        if self.rule == "discrepancy":
            norms = torch.as_tensor(list(self.noise_norm), dtype=torch.float64, device=small.tail.device)
            return discrepancy_root(small, self.safety * norms)
        given = torch.as_tensor(strength, dtype=torch.float64).to(small.tail.device).flatten()
        return (given * curvature).expand_as(small.tail)

    def _space(self, problem: Problem, image: torch.Tensor, root: Any) -> Memory:
        """The one-dimensional space of an image, factors and L x included."""
        size = inner(image, image).sqrt()
        column = image / size.clamp_min(torch.finfo(image.dtype).tiny)
        L = problem.priors[0].operator
        empty = torch.zeros(image.shape[0], 0, 0, dtype=torch.float64, device=image.device)
        turned = L.A(column)
        QA, R_A = _append((), empty, problem.physics.A(column) * root, column)
        QL, R_L = _append((), empty, turned, column)
        return {"V": (column,), "QA": QA, "QL": QL, "R_A": R_A, "R_L": R_L, "penalised": turned * size}


def _weighted(problem: Problem) -> tuple[torch.Tensor, Any]:
    """Data times the square root of their weights, and that root (1 where there are none)."""
    fidelity: Any = problem.fidelity
    root = 1.0 if fidelity.weights is None else fidelity.weights.sqrt()
    return fidelity.data * root, root


def _dots(columns: Columns, a: torch.Tensor) -> torch.Tensor:
    """<column_j, a> of each item, (B, k) in float64."""
    return torch.stack([inner(column, a).flatten() for column in columns], dim=1).double()


def _combine(columns: Columns, z: torch.Tensor) -> torch.Tensor:
    """sum_j z_j column_j for z of (B, k)."""
    shape = (-1, *([1] * (columns[0].ndim - 1)))
    out = torch.zeros_like(columns[0])
    for j, column in enumerate(columns):
        out.addcmul_(column, z[:, j].to(column.dtype).reshape(shape))
    return out


def _times(R: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return (R @ z[..., None])[..., 0]


def _orthogonal(columns: Columns, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The part of `a` that is orthogonal to the columns, normalised, and its norm before; Gram-Schmidt twice."""
    for _ in range(2):
        a = a - _combine(columns, _dots(columns, a))
    size = inner(a, a).sqrt()
    return a / size.clamp_min(torch.finfo(a.dtype).tiny), size


def _append(
    Q: Columns, R: torch.Tensor, new: torch.Tensor, column: torch.Tensor
) -> tuple[Columns, torch.Tensor]:
    """QR factors with one more column, K v, where v = `column`.

    An item whose v is zero has nothing to add; 1 on its diagonal keeps the new coefficient apart and at 0.
    """
    k = R.shape[-1]
    whole = inner(new, new).sqrt().flatten()
    along = torch.zeros(R.shape[0], k, dtype=R.dtype, device=R.device)
    rest = new
    if k:
        for _ in range(2):
            part = _dots(Q, rest)
            along, rest = along + part, rest - _combine(Q, part)
    size = inner(rest, rest).sqrt()
    # What is left of a column that lies in the space already is rounding, and no direction.
    lost = size.flatten() <= 10 * torch.finfo(new.dtype).eps * whole
    shape = size.shape
    rest = torch.where(
        lost.reshape(shape), torch.zeros_like(rest), rest / size.clamp_min(torch.finfo(new.dtype).tiny)
    )
    absent = (inner(column, column) == 0).flatten()
    corner = torch.where(lost, torch.zeros_like(whole), size.flatten()).double()
    corner = torch.where(absent, torch.ones_like(corner), corner)
    grown = torch.zeros(R.shape[0], k + 1, k + 1, dtype=R.dtype, device=R.device)
    grown[:, :k, :k] = R
    grown[:, :k, k] = along
    grown[:, k, k] = corner
    return (*Q, rest), grown
