"""A bilevel problem with everything in closed form: exact hypergradients against the certificate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imagereg.choose.bilevel import LowerLevel, UpperLevel
from imagereg.choose.hypergradient import hypergradient
from imagereg.choose.maid import MAID


class Quadratic(LowerLevel):
    """h = 1/2 ||A2 x + A3 t - b2||^2 with A uniform on [0, 1]."""

    def __init__(self, random: np.random.Generator, rows: int, size: int) -> None:
        self.A1, self.A2, self.A3 = (torch.from_numpy(random.random((rows, size))) for _ in range(3))
        self.b1, self.b2 = (torch.from_numpy(random.random(rows)) for _ in range(2))
        self.H, self.J = self.A2.T @ self.A2, self.A2.T @ self.A3
        eigenvalues = torch.linalg.eigvalsh(self.H)
        self.convexity, self._smooth = float(eigenvalues[0]), float(eigenvalues[-1])
        self.data = torch.zeros(size, dtype=torch.float64)

    def energy(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """h(x, theta)."""
        return 0.5 * (self.A2 @ x + self.A3 @ theta - self.b2).square().sum()

    def gradient(self, x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """Gradient in x."""
        return self.H @ x + self.J @ theta - self.A2.T @ self.b2

    def smoothness(self, theta: torch.Tensor) -> float:
        """Largest eigenvalue of H."""
        return self._smooth

    def lipschitz(self, x: torch.Tensor, theta: torch.Tensor) -> tuple[float, float]:
        """H and J are constant."""
        return 0.0, 0.0

    def solution(self, theta: torch.Tensor) -> torch.Tensor:
        """x(theta)."""
        return torch.linalg.solve(self.H, self.A2.T @ (self.b2 - self.A3 @ theta))

    def least(self) -> float:
        """min over theta of g(x(theta)), by least squares."""
        slope = -self.A1 @ torch.linalg.solve(self.H, self.J)
        offset = self.A1 @ torch.linalg.solve(self.H, self.A2.T @ self.b2) - self.b1
        theta = torch.linalg.lstsq(slope, -offset[:, None], driver="gelsd").solution[:, 0]
        return Fit(self).value(self.solution(theta))


class Fit(UpperLevel):
    """g = 1/2 ||A1 x - b1||^2."""

    def __init__(self, of: Quadratic) -> None:
        self.of = of
        self.lipschitz = float(torch.linalg.eigvalsh(of.A1.T @ of.A1)[-1])

    def value(self, x: torch.Tensor) -> float:
        """g(x)."""
        return float(0.5 * (self.of.A1 @ x - self.of.b1).square().sum())

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """Gradient in x."""
        return self.of.A1.T @ (self.of.A1 @ x - self.of.b1)


def quadratic(draws: int = 500) -> dict[str, Any]:
    """True error of the hypergradient over its bound, and descent of the exact objective under MAID."""
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(draws):
        problem = Quadratic(random, 1000, 10)
        upper, theta = Fit(problem), torch.from_numpy(random.standard_normal(10))
        accuracy, residual = 10.0 ** random.uniform(-6, 0, 2)
        start = torch.from_numpy(random.standard_normal(10))
        found = hypergradient(problem, upper, theta, start=start, accuracy=accuracy, residual=residual)
        right = upper.gradient(problem.solution(theta))
        exact = -problem.J.T @ torch.linalg.solve(problem.H, right)
        ratios.append(float((found.direction - exact).norm()) / found.bound)
    problem = Quadratic(np.random.default_rng(1), 1000, 10)
    upper = Fit(problem)
    objective = [upper.value(problem.solution(torch.zeros(10, dtype=torch.float64)))]
    inside = True
    for state in MAID(step=1e-3, grow_accuracy=1.25).iterate(
        problem, upper, torch.zeros(10, dtype=torch.float64), total=200
    ):
        objective.append(upper.value(problem.solution(state.memory["theta"])))
        inside &= state.values["lower"] <= objective[-1] * (1 + 1e-12) <= state.values["upper"] * (1 + 1e-11)
    steps = np.diff(objective)
    return {
        "draws": draws,
        "violations": int(sum(r > 1 for r in ratios)),
        "largest_ratio": max(ratios),
        "median_ratio": float(np.median(ratios)),
        "maid_steps": len(steps),
        "maid_steps_that_increase_f": int((steps > 0).sum()),
        "f_within_its_bounds": bool(inside),
        "f_first": objective[0],
        "f_last": objective[-1],
        "f_least": problem.least(),
    }
