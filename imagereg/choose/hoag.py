"""HOAG: gradient descent on learned parameters with a schedule of summable tolerances."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from imagereg.choose.bilevel import LowerLevel, UpperLevel
from imagereg.choose.hypergradient import Linearisation, solve_adjoint, solve_lower
from imagereg.solvers.state import State


@dataclass(frozen=True)
class HOAG:
    """Hyperparameter optimisation with approximate gradient for min_theta g(x(theta)).

    At step k lower level and adjoint are solved to eps_k, p = -J^T q, theta <- Proj(theta - p / L). A step
    that lets g grow by more than a fifth is taken back and L doubled; one that decreases g as its tolerances
    allow makes L 5 % smaller, and one that lets g grow makes it 5 % larger: the published rule keeps L then,
    and can go to and fro between two points for ever. Converges to a stationary point where sum eps_k is
    finite. Pedregosa, ICML 2016, arXiv 1602.02355.

    Parameters
    ----------
    accuracy : eps_1.
    schedule : eps_k = accuracy / k^2, accuracy / k^3 or accuracy * 0.9^(k - 1).
    floor : smallest eps_k.
    step : first step 1/L; L = ||p_1|| / sqrt(d) where not given, which moves each parameter by about 1.
    sufficient, lipschitz : C and M of the test that makes L smaller.
    bounds : (low, high) of every parameter, None for no bound.
    """

    accuracy: float = 1e-1
    schedule: Literal["quadratic", "cubic", "exponential"] = "quadratic"
    floor: float = 1e-12
    step: float | None = None
    sufficient: float = 0.25
    lipschitz: float = 1.0
    bounds: tuple[float | None, float | None] = (None, None)

    def tolerance(self, k: int) -> float:
        """eps_k before any halving."""
        if self.schedule == "exponential":
            value = self.accuracy * 0.9 ** (k - 1)
        else:
            value = self.accuracy / k ** (2 if self.schedule == "quadratic" else 3)
        return max(value, self.floor)

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
        """Learn from `theta` on: one state a step, taken back or not.

        `state.image` holds the images x~; `state.memory["theta"]` the parameters they belong to.
        `state.values`: objective g(x~), `hypergradient` ||p||, `eps`, `step` 1/L, `accepted`, and `work`, the
        lower-level gradients and Hessian products so far.

        Parameters
        ----------
        theta : (d,) first parameters.
        total : number of steps at most.
        budget : work after which the run ends.
        tolerance : the run ends when ||p|| falls below it.
        """
        began = time.perf_counter()
        theta = self._project(theta.detach().to(lower.data).clone())
        image, adjoint = lower.start(), None
        inverse_step = None if self.step is None else 1.0 / self.step
        kept: tuple[torch.Tensor, torch.Tensor, torch.Tensor, float] | None = None
        halvings, moved, before = 0, 0.0, math.inf
        lower_work = adjoint_work = 0
        for k in range(1, total + 1):
            eps = max(self.tolerance(k) * 0.5**halvings, self.floor)
            solved = solve_lower(lower, theta, image, accuracy=eps)
            lower_work += solved.iterations
            image, value = solved.image, upper.value(solved.image)
            accepted = kept is None or value < 1.2 * kept[3]
            if accepted:
                at = Linearisation(lower, image, theta)
                right = upper.gradient(image)
                first = torch.zeros_like(right) if adjoint is None else adjoint
                dual = solve_adjoint(at, right, first, accuracy=eps)
                adjoint_work += dual.iterations
                adjoint = dual.image
                p = -at.jacobian_transposed(adjoint)
                norm = float(p.norm())
                if inverse_step is None:
                    inverse_step = norm / math.sqrt(p.numel()) if norm > 1e-3 else 1.0
                elif kept is not None:
                    growth = value - kept[3]
                    if growth <= self._allowance(eps, before, moved, inverse_step):
                        inverse_step *= 0.95
                    elif growth > 0:
                        inverse_step /= 0.95
                kept = (theta, p, image, value)
            else:
                assert kept is not None and inverse_step is not None
                inverse_step *= 2.0
                halvings += 1
            shown, p, image, value = kept
            reason = self._reason(k, total, lower_work + adjoint_work, budget, float(p.norm()), tolerance)
            yield State(
                image,
                k,
                total,
                time.perf_counter() - began,
                finished=reason,
                values={
                    "objective": value,
                    "hypergradient": float(p.norm()),
                    "eps": eps,
                    "step": 1.0 / inverse_step,
                    "accepted": float(accepted),
                    "lower_iterations": lower_work,
                    "adjoint_iterations": adjoint_work,
                    "work": lower_work + adjoint_work,
                },
                memory={"image": image, "theta": shown.clone()},
            )
            if reason:
                return
            theta = self._project(shown - p / inverse_step)
            moved, before = float((theta - shown).norm()), eps

    def _allowance(self, eps: float, before: float, moved: float, inverse_step: float) -> float:
        """C eps_k + eps_{k-1} (C + M) D_k - M L D_k^2."""
        c, m = self.sufficient, self.lipschitz
        return c * eps + before * (c + m) * moved - m * inverse_step * moved**2

    def _project(self, theta: torch.Tensor) -> torch.Tensor:
        low, high = self.bounds
        return theta if low is None and high is None else theta.clamp(low, high)

    @staticmethod
    def _reason(k: int, total: int, work: int, budget: float, norm: float, tolerance: float) -> str:
        if norm <= tolerance:
            return f"gradient {norm:.2g}"
        if work > budget:
            return f"{budget:.0f} lower-level and adjoint iterations"
        return f"{total} iterations" if k == total else ""
