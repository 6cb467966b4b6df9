"""A ramp filter as the metric of a scan's dual variable: what makes blurred data easy to fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from imagereg.fidelities.least_squares import LeastSquares
from imagereg.solvers.problem import Problem


@dataclass(frozen=True, eq=False)
class Ramp:
    """R = F^-1 h F along the detector, h(f) = max(|f|, 1 / 4n)^exponent for frequencies of n columns.

    A scan damps frequency f by 1 / |f| (A^T A), so that fine structures converge last. With R in the place
    of 1 as the metric of u, dual steps of fine structures are longer; exponent 1 would make A^T R A about
    constant, but then leave coarse structures to ring, for the dual of least squares damps by 1 + sigma h.
    One half is a good middle.

    Parameters
    ----------
    data : y, (B, C, ..., columns).
    symbol : h at the frequencies of a real Fourier transform.
    root : w^(1/2), the roots of the weights, where there are any: R acts on whitened data w^(1/2) y.
    """

    data: torch.Tensor
    symbol: torch.Tensor
    root: torch.Tensor | None

    @classmethod
    def of(cls, fidelity: LeastSquares, exponent: float) -> Ramp:
        """The filter for a least-squares fidelity, with an exponent between 0 and 1."""
        data = fidelity.data
        columns = data.shape[-1]
        frequency = torch.fft.rfftfreq(columns, dtype=data.dtype, device=data.device)
        symbol = (2 * frequency.clamp_min(0.25 / columns)) ** exponent
        return cls(data, symbol, None if fidelity.weights is None else fidelity.weights.sqrt())

    @staticmethod
    def suits(problem: Problem) -> bool:
        """Whether the problem is the least-squares fit of a scan with several columns."""
        scan = getattr(problem.physics, "geometry", None) is not None
        return scan and isinstance(problem.fidelity, LeastSquares) and problem.fidelity.data.shape[-1] > 4

    def half(self, u: torch.Tensor) -> torch.Tensor:
        """R^(1/2) u."""
        return self._filter(u, self.symbol.sqrt())

    def norm(self, problem: Problem) -> float:
        """||R^(1/2) A||."""
        from deepinv.physics import LinearPhysics

        from imagereg.physics.certificate import operator_norm

        physics = problem.physics
        filtered = LinearPhysics(
            A=lambda x, **_: self.half(physics.A(x)), A_adjoint=lambda y, **_: physics.A_adjoint(self.half(y))
        )
        return operator_norm(filtered, problem.like)

    def noise(self) -> float:
        """Standard deviation of R^(1/2) n over that of white noise n: the root of the mean of h."""
        columns = self.data.shape[-1]
        both = torch.full_like(self.symbol, 2.0)  # frequencies of both signs, but for 0 and the highest
        both[0] = 1.0
        both[-1] = 1.0 if columns % 2 == 0 else 2.0
        return float((both * self.symbol).sum() / columns) ** 0.5

    def metric(self, u: torch.Tensor) -> torch.Tensor:
        """w^(1/2) R w^(1/2) u."""
        return self._whiten(self._filter(self._whiten(u), self.symbol))

    def dual_step(self, u: torch.Tensor, Ax: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """argmin_v f*(v) + <v - p, (sigma M)^-1 (v - p)> / 2 with the metric M and p = u + sigma M Ax.

        In q = w^(-1/2) u it is q + G (w^(1/2) (Ax - y) - q), G = sigma R / (1 + sigma R).
        """
        gain = sigma * self.symbol
        gain = gain / (1 + gain)
        q = u if self.root is None else torch.where(self.root > 0, u / self.root, 0.0)
        return self._whiten(q + self._filter(self._whiten(Ax - self.data) - q, gain))

    def _whiten(self, r: torch.Tensor) -> torch.Tensor:
        return r if self.root is None else self.root * r

    def _filter(self, r: torch.Tensor, symbol: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(r) * symbol, n=self.data.shape[-1])
