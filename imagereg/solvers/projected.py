"""Small regularised problems that stand for large ones, and the choice of their parameter."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class ProjectedProblem:
    """min_z ||R_A z - b||^2 + eta ||R_L z - w||^2 in its generalised singular values, for a batch.

    With the stack [R_A; s R_L] = Q R (s balances the norms) and the singular value decomposition of its
    upper block Q_1 = U diag(a) Z^T, the lower block is Q_2 Z = V diag(l), and in g = Z^T R z the problem
    falls apart: g_j = (a_j b_j + t l_j w_j) / (a_j^2 + t l_j^2), t = eta / s^2, where a_j^2 + l_j^2 = 1.

    Attributes
    ----------
    a, l : (B, k) generalised cosines and sines.
    b, w : (B, k) right-hand sides in their bases.
    tail : (B,) squared norm of the data outside the projected space.
    size : number of data of an item.
    scale : (B,) s^2.
    """

    a: torch.Tensor
    l: torch.Tensor  # noqa: E741 - the field's letter
    b: torch.Tensor
    w: torch.Tensor
    tail: torch.Tensor
    size: int
    scale: torch.Tensor
    back: torch.Tensor

    @classmethod
    def of(
        cls,
        R_A: torch.Tensor,
        R_L: torch.Tensor,
        b: torch.Tensor,
        w: torch.Tensor,
        *,
        tail: torch.Tensor,
        size: int,
    ) -> ProjectedProblem:
        """From triangular factors (B, k, k) and right-hand sides (B, k), all in float64."""
        scale = _norm(R_A) / _norm(R_L).clamp_min(1e-300)
        scale = torch.where((scale > 0) & (scale < 1e150), scale, torch.ones_like(scale))
        Q, R = torch.linalg.qr(torch.cat([R_A, scale[:, None, None] * R_L], dim=1))
        k = R_A.shape[-1]
        U, a, Zt = torch.linalg.svd(Q[:, :k])
        V = Q[:, k:] @ Zt.mT
        l = V.norm(dim=1)  # noqa: E741
        V = V / l.clamp_min(1e-150)[:, None]
        return cls(
            a,
            l,
            (U.mT @ b[..., None])[..., 0],
            scale[:, None] * (V.mT @ w[..., None])[..., 0],
            tail,
            size,
            scale**2,
            torch.linalg.solve_triangular(R, Zt.mT, upper=True),
        )

    def solve(self, eta: torch.Tensor) -> torch.Tensor:
        """The minimiser z for each item's eta (B,), shape (B, k)."""
        t = (eta / self.scale)[:, None]
        g = (self.a * self.b + t * self.l * self.w) / (self.a**2 + t * self.l**2)
        return (self.back @ g[..., None])[..., 0]

    def misfit(self, t: torch.Tensor) -> torch.Tensor:
        """||R_A z - b||^2 + tail at the minimisers for t of (B, n), shape (B, n); it grows with t."""
        t = t[..., None]
        a, l, b, w = (v[:, None] for v in (self.a, self.l, self.b, self.w))  # noqa: E741
        part = t * l * (a * w - l * b) / (a**2 + t * l**2)
        return part.square().sum(-1) + self.tail[:, None]

    def gcv(self, t: torch.Tensor) -> torch.Tensor:
        """Generalised cross-validation M misfit / (M - sum a_j^2 / (a_j^2 + t l_j^2))^2, shape (B, n).

        The data outside the projected space count in both places.
        """
        a, l = self.a[:, None] ** 2, self.l[:, None] ** 2  # noqa: E741
        fitted = (a / (a + t[..., None] * l)).sum(-1)
        return self.size * self.misfit(t) / (self.size - fitted).clamp_min(1e-8).square()


# Bounds of t: beyond them one of the two terms is lost in the rounding of the other.
LEAST, MOST = 1e-14, 1e4


def discrepancy_root(problem: ProjectedProblem, delta: torch.Tensor) -> torch.Tensor:
    """eta (B,) with ||R_A z - b||^2 + tail = delta^2, by bisection of its logarithm.

    Where even the best fit misses by more than delta, as in small spaces, it is the least eta; where the
    misfit never gets that large it is the most.
    """
    low = torch.full_like(problem.tail, LEAST).log()
    high = torch.full_like(problem.tail, MOST).log()
    for _ in range(60):
        middle = (low + high) / 2
        above = problem.misfit(middle.exp()[:, None])[:, 0] > delta**2
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return ((low + high) / 2).exp() * problem.scale


def gcv_minimum(problem: ProjectedProblem) -> torch.Tensor:
    """eta (B,) of least generalised cross-validation: a logarithmic grid, then two finer ones about its best."""
    low = torch.full_like(problem.tail, LEAST).log()
    high = torch.full_like(problem.tail, MOST).log()
    steps = torch.linspace(0, 1, 60, dtype=low.dtype, device=low.device)
    best = low
    for _ in range(3):
        grid = low[:, None] + (high - low)[:, None] * steps
        best = grid.gather(1, problem.gcv(grid.exp()).argmin(1, keepdim=True))[:, 0]
        width = (high - low) / (len(steps) - 1)
        low, high = best - width, best + width
    return best.exp() * problem.scale


def _norm(a: torch.Tensor) -> torch.Tensor:
    return a.flatten(1).norm(dim=1)
