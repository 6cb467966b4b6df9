"""Limited-memory BFGS within bounds, for smooth data terms of any differentiable physics."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.solvers.problem import Problem, Refusal, inner
from imagereg.solvers.state import Memory


@dataclass(frozen=True, eq=False)
class LBFGS:
    """Projected L-BFGS: x <- P(x - t H g), g = J(x)^T ∇f(A x), H from the last pairs of steps and gradients.

    Pixels that lie on a bound and would leave it are held. t is halved until
    f(x+) <= f(x) + decrease <g, x+ - x>. Each item of a batch has its own t and pairs. A may be
    non-linear; it is used through `A` and `A_vjp`.

    Parameters
    ----------
    first : largest change of a pixel in the first step, in units of x, where H is not known yet.
    pairs : number of pairs kept; 0 is steepest descent whose step length is remembered.
    decrease : Armijo's constant.
    trials : step lengths tried before the run ends, finished.
    mask : 1 for pixels that may change, 0 for those that are known; broadcast to x.

    References
    ----------
    Nocedal, Math. Comp. 35 (1980) 773, doi 10.1090/S0025-5718-1980-0572855-7; Bertsekas, SIAM J. Control
    Optim. 20 (1982) 221, doi 10.1137/0320018 (projection).
    """

    first: float
    pairs: int = 8
    decrease: float = 1e-4
    trials: int = 12
    mask: torch.Tensor | None = None

    def check(self, problem: Problem) -> None:
        """Refuse priors, which need not be smooth."""
        if problem.priors:
            name = type(problem.priors[0]).__name__
            raise Refusal(f"L-BFGS takes smooth data terms only, not the prior {name}: take FISTA or PDHG.")

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start within the bounds, its value and gradient."""
        if start is None:
            raise Refusal("L-BFGS needs an image to start from.")
        image = problem.project(start)
        forward = problem.physics.A(image)
        return {
            "image": image,
            "forward": forward,
            "value": problem.fidelity.fn(forward),
            "gradient": self._gradient(problem, image, forward),
            "length": None,
            "steps": [],
            "changes": [],
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """One quasi-Newton step with its line search, and the gradient where it ends."""
        image, gradient = memory["image"], memory["gradient"]
        free = self._free(problem, image, gradient)
        reduced = gradient * free
        direction = -self._inverse_hessian(reduced, memory) * free
        # An indefinite metric after a projection is no use; the gradient always is.
        uphill = inner(direction, reduced) >= 0
        direction = torch.where(uphill, -reduced, direction)
        known = bool(memory["steps"]) and not bool(uphill.any())
        largest = direction.abs().flatten(1).amax(1).reshape_as(uphill)
        length = torch.ones_like(uphill, dtype=image.dtype)
        if not known:
            initial = self.first / torch.where(largest > 0, largest, 1.0)
            length = initial if memory["length"] is None else memory["length"]
        found = largest == 0  # such an item is stationary
        new, forward, value = image, memory["forward"], memory["value"]
        for _ in range(self.trials):
            trial = torch.where(found, new, problem.project(image + length * direction))
            trial_Ax = problem.physics.A(trial)
            reached = problem.fidelity.fn(trial_Ax)
            slope = inner(gradient, trial - image)
            enough = reached.reshape_as(slope) <= memory["value"].reshape_as(slope) + self.decrease * slope
            ready = found | (enough & (slope < 0))
            new = torch.where(ready, trial, new)
            forward = torch.where(_like(ready, trial_Ax), trial_Ax, forward)
            value = torch.where(ready.flatten(), reached, value)
            length = torch.where(ready, length, length / 2)
            found = ready
            if bool(found.all()):
                break
        if not bool(found.any()):
            return {**memory, "finished": "no step makes the data term smaller"}
        after = self._gradient(problem, new, forward)
        step, change = new - image, after - gradient
        curved = inner(step, change) > 1e-10 * (inner(step, step) * inner(change, change)).sqrt()
        # A pair without curvature is stored as zeros, which the recursion skips for that item.
        pairs = ([torch.where(curved, step, 0.0)], [torch.where(curved, change, 0.0)])
        keep = self.pairs
        return {
            "image": new,
            "forward": forward,
            "value": value,
            "gradient": after,
            "length": 2 * length if not known else None,
            "steps": [*memory["steps"], *pairs[0]][-keep:] if keep else [],
            "changes": [*memory["changes"], *pairs[1]][-keep:] if keep else [],
        }

    def _gradient(self, problem: Problem, image: torch.Tensor, forward: torch.Tensor) -> torch.Tensor:
        gradient = problem.physics.A_vjp(image, problem.fidelity.grad(forward))
        return gradient if self.mask is None else gradient * self.mask

    @staticmethod
    def _free(problem: Problem, image: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """1 where a pixel may move along -gradient."""
        low, high = problem.bounds
        held = torch.zeros_like(image, dtype=torch.bool)
        if low is not None:
            held |= (image <= low) & (gradient > 0)
        if high is not None:
            held |= (image >= high) & (gradient < 0)
        return (~held).to(image.dtype)

    @staticmethod
    def _inverse_hessian(gradient: torch.Tensor, memory: Memory) -> torch.Tensor:
        """H g by the two-loop recursion."""
        q, coefficients = gradient, []
        pairs = list(zip(memory["steps"], memory["changes"], strict=True))
        tiny = _tiny(gradient)
        for step, change in reversed(pairs):
            a = inner(step, q) / inner(step, change).clamp_min(tiny)
            q = q - a * change
            coefficients.append(a)
        for step, change in reversed(pairs):
            square = inner(change, change)
            if bool((square > 0).any()):
                q = q * torch.where(square > 0, inner(step, change) / square.clamp_min(tiny), 1.0)
                break
        for (step, change), a in zip(pairs, reversed(coefficients), strict=True):
            b = inner(change, q) / inner(step, change).clamp_min(tiny)
            q = q + (a - b) * step
        return q


def _tiny(x: torch.Tensor) -> float:
    return float(torch.finfo(x.dtype).tiny)


def _like(flag: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A flag of each item in as many axes as x has."""
    return flag.reshape(-1, *[1] * (x.ndim - 1))
