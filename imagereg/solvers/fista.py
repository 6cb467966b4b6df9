"""Accelerated proximal gradients, with restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import align
from imagereg.priors.base import BoundedProx, Prior
from imagereg.solvers.linear import name_of
from imagereg.solvers.problem import Problem, Refusal, inner
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class FISTA:
    """x+ = prox(y - grad F(y) / L, 1 / L),  y = x + b (x - x before).

    F is f(A x) and all smooth priors, prox that of one other prior or of the bounds. Where the gradient of
    f is Lipschitz and A linear, L is known from norms and A x is kept by linearity; elsewhere L is found by
    backtracking from 0.9 times the last one, the momentum taking account of the ratio. Momentum starts anew
    where it points uphill, each item of a batch for itself.

    Parameters
    ----------
    restart : restart the momentum; without it, the plain scheme.
    inner : steps of a prior's own solver at most, where its prox has no closed form.
    momentum : off for proximal gradients without acceleration.

    References
    ----------
    A. Beck and M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183, doi:10.1137/080716542; B. O'Donoghue and
    E. Candès, Found. Comput. Math. 15 (2015) 715, doi:10.1007/s10208-013-9150-3 (restarts); K. Scheinberg,
    D. Goldfarb, X. Bai, Found. Comput. Math. 14 (2014) 389, doi:10.1007/s10208-014-9189-9 (L that falls).
    """

    restart: bool = True
    inner: int = 20
    momentum: bool = True

    def __post_init__(self) -> None:
        if self.inner < 1:
            raise UsageError(f"FISTA(inner={self.inner}): give at least 1.")

    def check(self, problem: Problem) -> None:
        """Refuse two priors that need a proximal step, one without, and one beside bounds it cannot keep."""
        rough = [prior for prior in problem.priors if not prior.smooth]
        if len(rough) > 1:
            names = " and ".join(name_of(prior) for prior in rough)
            raise Refusal(f"FISTA takes one prior that is not smooth, not {names}; use PDHG or ADMM.")
        for prior in rough:
            if type(prior).prox is Prior.prox:
                raise Refusal(f"FISTA: {name_of(prior)} has no proximal operator of its own; use PDHG.")
            if (
                problem.bounds != (None, None)
                and not isinstance(prior, BoundedProx)
                and prior.outer is not None
            ):
                raise Refusal(
                    f"FISTA: {name_of(prior)} has no proximal operator within bounds; use PDHG, or leave the "
                    "bounds out."
                )

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start within the bounds, and the Lipschitz constant where it is known."""
        image = problem.project(problem.like if start is None else start)
        forward = problem.physics.A(image)
        each = image.new_ones(image.shape[0], *[1] * (image.ndim - 1))
        curvature = each * self._smooth_part(problem)
        if self._known(problem):
            curvature = curvature + problem.fidelity.lipschitz * problem.norm**2
        else:
            gradient = problem.adjoint(image, problem.fidelity.grad(forward))
            moved = problem.physics.A(gradient) if problem.linear else None
            if moved is not None:
                along_gradient = problem.fidelity.curvature(forward, moved).reshape_as(each)
                guess = along_gradient / inner(gradient, gradient).clamp_min(torch.finfo(image.dtype).tiny)
                curvature = curvature + torch.where(torch.isfinite(guess) & (guess > 0), guess, each)
            else:
                curvature = curvature + each
        return {
            "image": image,
            "forward": forward,
            "before": image,
            "forward_before": forward,
            "age": torch.ones_like(each),
            "curvature": curvature.clamp_min(torch.finfo(image.dtype).tiny),
            "ratio": torch.ones_like(each),
            "warm": None,
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One proximal gradient step from the extrapolated image."""
        image, before, age = memory["image"], memory["before"], memory["age"]
        older = (1 + (1 + 4 * memory["ratio"] * age * age).sqrt()) / 2
        push = (age - 1) / older if self.momentum else torch.zeros_like(age)
        known = self._known(problem)
        extrapolated = image + push * (image - before)
        if known:
            Ax = memory["forward"]
            Ax = Ax + align(push, Ax) * (Ax - memory["forward_before"])
        else:
            # Data terms without a Lipschitz gradient may be infinite outside the bounds.
            extrapolated = problem.project(extrapolated)
            Ax = problem.physics.A(extrapolated)
        gradient = problem.adjoint(extrapolated, problem.fidelity.grad(Ax))
        for prior in problem.priors:
            if prior.smooth:
                gradient = gradient + prior.grad(extrapolated)
        curvature, warm = memory["curvature"] * (1.0 if known else 0.9), memory["warm"]
        new, warm = self._prox(problem, extrapolated - gradient / curvature, 1 / curvature, warm)
        forward = problem.physics.A(new)
        if not known:
            new, forward, curvature, warm = self._backtrack(
                problem, (extrapolated, Ax, gradient), (new, forward, curvature, warm)
            )
        if self.restart:
            uphill = inner(extrapolated - new, new - image) > 0
            older = torch.where(uphill, torch.ones_like(older), older)
        return {
            "image": new,
            "forward": forward,
            "before": image,
            "forward_before": memory["forward"],
            "age": older,
            "curvature": curvature,
            "ratio": memory["ratio"] if known else curvature / memory["curvature"],
            "warm": warm,
        }

    def _backtrack(self, problem: Problem, at: tuple, trial: tuple) -> tuple:
        """Double the curvature of items whose parabola does not lie above F, until all do."""
        extrapolated, Ax, gradient = at
        new, forward, curvature, warm = trial
        base = self._value(problem, extrapolated, Ax)
        for _ in range(60):
            step = new - extrapolated
            above = base + inner(gradient, step) + curvature / 2 * inner(step, step)
            room = 16 * torch.finfo(new.dtype).eps * base.abs()
            short = ~(self._value(problem, new, forward) <= above + room)
            if not bool(short.any()):
                break
            curvature = torch.where(short, 2 * curvature, curvature)
            new, warm = self._prox(problem, extrapolated - gradient / curvature, 1 / curvature, warm)
            forward = problem.physics.A(new)
        return new, forward, curvature, warm

    @staticmethod
    def _value(problem: Problem, image: torch.Tensor, forward: torch.Tensor) -> torch.Tensor:
        """F of each item, shaped (B, 1, ..., 1)."""
        value = problem.fidelity.fn(forward)
        for prior in problem.priors:
            if prior.smooth:
                value = value + prior.fn(image)  # type: ignore[operator]
        return value.reshape(-1, *[1] * (image.ndim - 1))

    def _prox(
        self, problem: Problem, image: torch.Tensor, gamma: torch.Tensor, warm: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        for prior in problem.priors:
            if prior.smooth:
                continue
            if isinstance(prior, BoundedProx):
                return prior.prox_within(image, gamma, problem.bounds, warm, iterations=self.inner)
            return problem.project(prior.prox(image, gamma)), None
        return problem.project(image), None

    @staticmethod
    def _known(problem: Problem) -> bool:
        return problem.linear and math.isfinite(problem.fidelity.lipschitz)

    @staticmethod
    def _smooth_part(problem: Problem) -> torch.Tensor | float:
        total: torch.Tensor | float = 0.0
        for prior in problem.priors:
            if prior.smooth and prior.outer is not None:
                total = total + prior.outer.slope(1.0) * prior.operator.norm**2
        return total
