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

    def misfit(self, eta: torch.Tensor) -> torch.Tensor:
        """||R_A z - b||^2 + tail at the minimisers for eta of (B, n), shape (B, n); it grows with eta."""
        t = (eta / self.scale[:, None])[..., None]
        a, l, b, w = (v[:, None] for v in (self.a, self.l, self.b, self.w))  # noqa: E741
        part = t * l * (a * w - l * b) / (a**2 + t * l**2)
        return part.square().sum(-1) + self.tail[:, None]

    def fitted(self, eta: torch.Tensor) -> torch.Tensor:
        """<b, R_A z> at the minimisers for eta of (B, n) and w = 0, shape (B, n).

        Where the data are random signs, this is an estimate of the trace of the matrix that takes data to
        fitted data, made from the Krylov space of the signs as Gauss quadrature makes it.
        """
        t = (eta / self.scale[:, None])[..., None]
        a, l, b = (v[:, None] for v in (self.a, self.l, self.b))  # noqa: E741
        return (a**2 * b**2 / (a**2 + t * l**2)).sum(-1)

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Logarithms (B,) of the least and the largest eta that make sense.

        Beyond them one of the two terms is lost in the rounding of the other.
        """
        return (1e-14 * self.scale).log(), (1e4 * self.scale).log()


def discrepancy_root(problem: ProjectedProblem, delta: torch.Tensor) -> torch.Tensor:
    """eta (B,) with ||R_A z - b||^2 + tail = delta^2, by a search of its logarithm.

    Where even the best fit misses by more than delta, as in small spaces, it is the least eta; where the
    misfit never gets that large it is the largest.
    """
    low, high = problem.bounds()
    steps = torch.linspace(0, 1, 65, dtype=low.dtype, device=low.device)
    for _ in range(7):  # of 65 points each: to 1e-11
        grid = low[:, None] + (high - low)[:, None] * steps
        below = (problem.misfit(grid.exp()) <= delta[:, None] ** 2).sum(1, keepdim=True)
        low = grid.gather(1, (below - 1).clamp_min(0))[:, 0]
        high = grid.gather(1, below.clamp_max(len(steps) - 1))[:, 0]
    return ((low + high) / 2).exp()


def gcv_minimum(problem: ProjectedProblem, probe: ProjectedProblem) -> torch.Tensor:
    """eta (B,) of least generalised cross-validation M misfit / (M - trace)^2.

    The trace comes from a probe of random signs in a space of its own. That of the problem's own space would
    not do: it can never exceed the dimension of a space that the data themselves have picked, and the
    parameter would sink as the space grows.

    A logarithmic grid is searched, then two finer ones about its best.

    References
    ----------
    Golub, Heath, Wahba, Technometrics 21 (1979) 215, doi:10.1080/00401706.1979.10489751; Golub, von Matt, J.
    Comput. Graph. Stat. 6 (1997) 1, doi:10.1080/10618600.1997.10474725 (the trace).
    """
    low, high = problem.bounds()
    steps = torch.linspace(0, 1, 60, dtype=low.dtype, device=low.device)
    best = low
    for _ in range(3):
        grid = low[:, None] + (high - low)[:, None] * steps
        eta = grid.exp()
        free = (problem.size - probe.fitted(eta)).clamp_min(1e-8)
        score = problem.size * problem.misfit(eta) / free.square()
        best = grid.gather(1, score.argmin(1, keepdim=True))[:, 0]
        width = (high - low) / (len(steps) - 1)
        low, high = best - width, best + width
    return best.exp()


def _norm(a: torch.Tensor) -> torch.Tensor:
    return a.flatten(1).norm(dim=1)
