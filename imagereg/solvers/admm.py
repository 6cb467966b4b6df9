"""The alternating direction method of multipliers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Fidelity, Step, align
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.priors.base import IdentityMap, LinearMap, Prior
from imagereg.priors.quadratic import Quadratic
from imagereg.solvers.linear import (
    Block,
    data_block,
    mean_curvature,
    name_of,
    penalty_block,
    proximal_point,
    require_linear,
    solve,
)
from imagereg.solvers.problem import Problem, Refusal, inner
from imagereg.solvers.scale import scale_of
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class Split:
    """One copy z = K x that is kept equal to K x by a multiplier, and the proximal step of its term."""

    operator: LinearMap
    prox: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class _Forward(LinearMap):
    """A as a linear map of a prior."""

    def __init__(self, problem: Problem) -> None:
        self.A, self.A_adjoint = problem.physics.A, problem.physics.A_adjoint  # type: ignore[method-assign]


@dataclass(frozen=True, eq=False)
class ADMM:
    """x  = argmin f(A x) + sum_i rho_i/2 ||K_i x - z_i + q_i||^2
    z_i = prox_{g_i / rho_i}(K_i x + q_i),   q_i += K_i x - z_i

    for every prior, and with K = 1 for bounds. Quadratic terms stay in the first line, which conjugate
    gradients solve from where they were (in closed form where the physics has a singular value
    decomposition and K_i^T K_i = 1); other fidelities are split with K = A. A denoiser takes the place of a
    proximal step. With bounds, the image shown is the copy that keeps to them.

    Parameters
    ----------
    relaxation : between 0 and 2; K x is replaced by relaxation K x + (1 - relaxation) z.
    penalty : factor of all rho_i, whose natural size comes from the terms (`Functional.slope`); one number,
        or one an item shaped (B, 1, ...).
    adapt : number of steps in which rho_i follows the ratio of primal and dual residuals (every fifth);
        afterwards it stays, and the method converges.
    inner, tolerance : conjugate gradients of the first line: steps at most, and reduction of the gradient.

    References
    ----------
    S. Boyd et al., Found. Trends Mach. Learn. 3 (2011) 1, doi:10.1561/2200000016; B. Wohlberg,
    arXiv:1704.06209 (relative residuals).
    """

    relaxation: float = 1.6
    penalty: Step = 1.0
    adapt: int = 40
    inner: int = 10
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if (
            not 0 < self.relaxation < 2
            or not bool((torch.as_tensor(self.penalty) > 0).all())
            or self.inner < 1
            or not 0 < self.tolerance < 1
        ):
            raise UsageError(
                f"ADMM(relaxation={self.relaxation}, penalty={self.penalty}, inner={self.inner}, "
                f"tolerance={self.tolerance}): give a relaxation in (0, 2), a positive penalty, at least "
                "one inner step and a tolerance between 0 and 1."
            )

    def check(self, problem: Problem) -> None:
        """Refuse non-linear physics and terms without a proximal operator."""
        require_linear(problem, "ADMM")
        kind = type(problem.fidelity)
        if kind.prox is Fidelity.prox:
            raise Refusal(f"ADMM: {kind.__name__} has no proximal operator; use FISTA.")
        for prior in problem.priors:
            if prior.outer is None and type(prior).prox is Prior.prox:
                raise Refusal(
                    f"ADMM: {name_of(prior)} has no proximal operator; use FISTA where it is smooth."
                )

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start, its copies, multipliers of 0 and the natural penalties."""
        image = problem.like if start is None else start
        forward = problem.physics.A(image)
        splits = self._splits(problem)
        Kx = [split.operator.A(image) for split in splits]
        copies = list(Kx)
        if problem.bounds != (None, None):
            copies[-1] = problem.project(image)
        return {
            "image": problem.project(image),
            "free": image,
            "Ax": forward,
            "views": Kx,
            "copies": copies,
            "multipliers": [torch.zeros_like(view) for view in Kx],
            "penalties": self._penalties(problem, start),
            "age": 0,
            **({"forward": forward} if problem.bounds == (None, None) else {}),
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One solution of the first line, one proximal step for each copy."""
        splits, rho = self._splits(problem), memory["penalties"]
        copies, multipliers = memory["copies"], memory["multipliers"]
        targets = [z - q for z, q in zip(copies, multipliers, strict=True)]
        image, Ax, views = self._fit(problem, memory, splits, targets)
        new_copies, new_multipliers = [], []
        for split, view, z, q, penalty in zip(splits, views, copies, multipliers, rho, strict=True):
            mixed = torch.lerp(z, view, self.relaxation)
            new = split.prox(mixed + q, 1 / align(penalty, view))
            new_copies.append(new)
            new_multipliers.append(q + mixed - new)
        age = memory["age"] + 1
        if age <= self.adapt and age % 5 == 0:
            rho, new_multipliers = self._balance(rho, views, new_copies, copies, new_multipliers)
        bounded = problem.bounds != (None, None)
        return {
            "image": new_copies[-1] if bounded else image,
            "free": image,
            "Ax": Ax,
            "views": views,
            "copies": new_copies,
            "multipliers": new_multipliers,
            "penalties": rho,
            "age": age,
            **({} if bounded else {"forward": Ax}),
        }

    def _fit(
        self, problem: Problem, memory: Memory, splits: list[Split], targets: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """The first line: x, A x and the K_i x."""
        rho = memory["penalties"]
        quadratic = [prior for prior in problem.priors if isinstance(prior, Quadratic)]
        plain = isinstance(problem.fidelity, LeastSquares)
        if plain and splits and not quadratic and all(split.operator.isometry for split in splits):
            weight = sum(rho[1:], rho[0])
            centre = sum(
                (r / weight * s.operator.A_adjoint(t) for r, s, t in zip(rho, splits, targets, strict=True)),
                torch.zeros_like(memory["free"]),
            )
            image = proximal_point(problem, centre, weight)
            if image is not None:
                return image, problem.physics.A(image), [split.operator.A(image) for split in splits]
        blocks: list[Block] = [data_block(problem)] if plain else []
        blocks += [penalty_block(s.operator, r, t) for s, r, t in zip(splits, rho, targets, strict=True)]
        blocks += [penalty_block(prior.operator, prior.outer.strength) for prior in quadratic]
        known = [memory["Ax"]] if plain else []
        known += [*memory["views"], *(prior.operator.A(memory["free"]) for prior in quadratic)]
        result = solve(blocks, memory["free"], known, iterations=self.inner, tolerance=self.tolerance)
        first = 1 if plain else 0
        views = result["Mx"][first : first + len(splits)]
        return result["image"], result["Mx"][0], views

    def _splits(self, problem: Problem) -> list[Split]:
        """The copies in their order: A x where the fidelity is not quadratic, the priors, the bounds."""
        splits = []
        if not isinstance(problem.fidelity, LeastSquares):
            splits.append(Split(_Forward(problem), problem.fidelity.prox))
        for prior in problem.priors:
            if isinstance(prior, Quadratic):
                continue
            if prior.outer is None:
                splits.append(Split(IdentityMap(), prior.prox))
            else:
                splits.append(Split(prior.operator, prior.outer.prox))
        if problem.bounds != (None, None):
            splits.append(Split(IdentityMap(), lambda x, gamma: problem.project(x)))
        return splits

    def _penalties(self, problem: Problem, start: torch.Tensor | None) -> list[torch.Tensor]:
        like = problem.like
        each = like.new_ones(like.shape[0], *[1] * (like.ndim - 1))
        data = problem.fidelity.estimate
        held = each * mean_curvature(problem)
        rho = []
        if not isinstance(problem.fidelity, LeastSquares):
            size = inner(data, data).reshape_as(each)
            rho.append(problem.fidelity.curvature(data, data).reshape_as(each) / size)
        scale = scale_of(problem, start) if problem.priors else each
        for prior in problem.priors:
            if isinstance(prior, Quadratic):
                continue
            rho.append(held if prior.outer is None else each * prior.outer.slope(scale))
        if problem.bounds != (None, None):
            rho.append(held)
        usable = [torch.where((r > 0) & torch.isfinite(r), r, torch.ones_like(r)) for r in rho]
        return [self.penalty * r for r in usable]

    @staticmethod
    def _balance(
        rho: list[torch.Tensor],
        views: list[torch.Tensor],
        copies: list[torch.Tensor],
        before: list[torch.Tensor],
        multipliers: list[torch.Tensor],
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Double or halve the penalty of copies whose relative residuals differ more than fivefold."""
        new_rho, new_multipliers = [], []
        for penalty, view, z, old, q in zip(rho, views, copies, before, multipliers, strict=True):
            tiny = torch.finfo(view.dtype).tiny
            primal = _norm(view - z) / torch.maximum(_norm(view), _norm(z)).clamp_min(tiny)
            dual = _norm(z - old) / _norm(q).clamp_min(tiny)
            factor = torch.where(primal > 5 * dual, 2.0, torch.where(dual > 5 * primal, 0.5, 1.0))
            factor = factor.to(penalty.dtype).reshape_as(penalty)
            new_rho.append(penalty * factor)
            new_multipliers.append(q / align(factor, q))
        return new_rho, new_multipliers


def _norm(a: torch.Tensor) -> torch.Tensor:
    return a.flatten(1).norm(dim=1)
