"""MAID: gradient descent on learned parameters, as inexact as descent allows and provably no more."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from imagereg.choose.bilevel import LowerLevel, UpperLevel
from imagereg.choose.hypergradient import Hypergradient, Lipschitz, hypergradient, solve_lower
from imagereg.solvers.state import State


@dataclass(frozen=True)
class MAID:
    """The method of adaptive inexact descent for min_theta g(x(theta)).

    Each step solves the lower level and the adjoint system only so well that the error bound of the
    hypergradient z satisfies omega <= (1 - eta) ||z||, and takes a step that decreases f = g(x(theta)) by at
    least lambda * step * ||z||^2 for certain: an upper bound of f there is compared with a lower bound here.
    Salehi, Mukherjee, Roberts, Ehrhardt, SIAM J. Math. Data Sci. 7(3), 2025, doi 10.1137/24M1653513 (arXiv
    2308.10098), Algorithms 3.1 and 3.2.

    Parameters
    ----------
    accuracy, residual : first eps (distance of the image from the exact one) and delta (of the adjoint).
    step : first step size alpha; sqrt(d) / ||z|| where not given, which moves each parameter by about 1.
    shrink_step, grow_step : rho < 1 < rho-bar.
    shrink_accuracy, grow_accuracy : nu < 1 < nu-bar.
    slack : eta in (0, 1): the direction is taken when omega <= (1 - eta) ||z||.
    decrease : lambda in (0, eta), of the descent test.
    trials : first number of steps tried before the accuracy is raised.
    patience : how many times that happens before the run ends.
    floor : smallest eps relative to ||x||, what double precision resolves.
    seed : seed of the points where Lipschitz constants are measured (see `Lipschitz`).
    """

    accuracy: float = 1e-1
    residual: float = 1e-1
    step: float | None = None
    shrink_step: float = 0.5
    grow_step: float = 10.0 / 9.0
    shrink_accuracy: float = 0.5
    grow_accuracy: float = 1.05
    slack: float = 1e-4
    decrease: float = 1e-8
    trials: int = 10
    patience: int = 20
    floor: float = 1e-11
    seed: int = 0

    def iterate(
        self,
        lower: LowerLevel,
        upper: UpperLevel,
        theta: torch.Tensor,
        *,
        total: int = 100,
        budget: float = float("inf"),
        tolerance: float = 0.0,
    ) -> Iterator[State]:
        """Learn from `theta` on: one state an accepted step.

        `state.image` holds the images x~; `state.memory["theta"]` the parameters. `state.values`: objective
        g(x~), its certain `upper` and `lower` bounds on f, `hypergradient` ||z||, `bound` omega, `eps`,
        `delta`, `step`, `certified` (1 where the Lipschitz constants are proven) and `work`, the lower-level
        gradients and Hessian products so far.

        Parameters
        ----------
        theta : (d,) first parameters.
        total : number of steps at most.
        budget : work after which the run ends.
        tolerance : the run ends when ||z|| + omega, a bound on ||grad f||, falls below it.
        """
        began = time.perf_counter()
        run = _Run(self, lower, upper, theta.detach().to(lower.data).clone())
        for iteration in range(1, total + 1):
            reason = run.advance(budget, tolerance)
            if not reason and iteration == total:
                reason = f"{total} iterations"
            yield State(
                run.image,
                iteration,
                total,
                time.perf_counter() - began,
                finished=reason,
                values=run.values(),
                memory={"image": run.image, "theta": run.theta.clone()},
            )
            if reason:
                return


class _Run:
    """What MAID carries from step to step."""

    def __init__(self, maid: MAID, lower: LowerLevel, upper: UpperLevel, theta: torch.Tensor) -> None:
        self.maid, self.lower, self.upper, self.theta = maid, lower, upper, theta
        self.image = lower.start()
        self.adjoint: torch.Tensor | None = None
        self.eps, self.delta = maid.accuracy, maid.residual
        self.step = maid.step or 0.0
        self.error = float("nan")
        self.found: Hypergradient | None = None
        self.lipschitz = Lipschitz(maid.seed)
        self.lower_work = self.adjoint_work = 0

    @property
    def work(self) -> int:
        return self.lower_work + self.adjoint_work

    def values(self) -> dict[str, float]:
        assert self.found is not None
        low, high = self._bounds(self.image, self.error)
        return {
            "objective": self.upper.value(self.image),
            "lower": low,
            "upper": high,
            "hypergradient": self.found.norm,
            "bound": self.found.bound,
            "certified": float(self.found.constants.certified),
            "eps": self.eps,
            "delta": self.delta,
            "step": self.step,
            "lower_iterations": self.lower_work,
            "adjoint_iterations": self.adjoint_work,
            "work": self.work,
        }

    def advance(self, budget: float, tolerance: float) -> str:
        """One accepted step; why the run ends, or nothing."""
        maid = self.maid
        trials = maid.trials
        for _ in range(maid.patience):
            reason = self._direction(budget, tolerance)
            if reason:
                return reason
            assert self.found is not None
            if not self.step:
                self.step = math.sqrt(self.theta.numel()) / self.found.norm
            low, _ = self._bounds(self.found.image, self.found.error)
            step = self.step
            for _ in range(trials):
                if self.work > budget:
                    return f"{budget:.0f} lower-level and adjoint iterations"
                theta = self.theta - step * self.found.direction
                solved = solve_lower(self.lower, theta, self.found.image, accuracy=self.eps)
                self.lower_work += solved.iterations
                _, high = self._bounds(solved.image, solved.error)
                if high - low + maid.decrease * step * self.found.norm**2 <= 0:
                    self.theta, self.image, self.error = theta, solved.image, solved.error
                    self.step = maid.grow_step * step
                    self.eps *= maid.grow_accuracy
                    self.delta *= maid.grow_accuracy
                    return ""
                step *= maid.shrink_step
            self._sharpen()
            trials += 1
        return f"no step of certain descent in {maid.patience} rounds of higher accuracy"

    def _direction(self, budget: float, tolerance: float) -> str:
        """A hypergradient whose error is small enough to descend along it (Algorithm 3.1)."""
        while True:
            found = hypergradient(
                self.lower,
                self.upper,
                self.theta,
                start=self.image,
                adjoint=self.adjoint,
                accuracy=self.eps,
                residual=self.delta,
                lipschitz=self.lipschitz,
            )
            self.lower_work += found.lower_iterations
            self.adjoint_work += found.adjoint_iterations
            self.found, self.image, self.adjoint = found, found.image, found.adjoint
            self.error = found.error
            if found.norm + found.bound <= tolerance:
                return f"gradient at most {found.norm + found.bound:.2g}"
            if found.bound <= (1 - self.maid.slack) * found.norm:
                return ""
            if self.work > budget:
                return f"{budget:.0f} lower-level and adjoint iterations"
            if self.eps <= self.maid.floor * float(self.image.norm()):
                return "the gradient is zero to what double precision resolves"
            self._sharpen()

    def _sharpen(self) -> None:
        self.eps *= self.maid.shrink_accuracy
        self.delta *= self.maid.shrink_accuracy

    def _bounds(self, image: torch.Tensor, error: float) -> tuple[float, float]:
        """Certain bounds of g(x(theta)) from an image within `error` of x(theta)."""
        value = self.upper.value(image)
        first = float(self.upper.gradient(image).norm()) * error
        second = 0.5 * self.upper.lipschitz * error**2
        return value - first - (0.0 if self.upper.convex else second), value + first + second
