"""A preconditioner of two levels for data and a penalty on L x: pixels, and groups of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imagereg.solvers.linear import mean_curvature
from imagereg.solvers.problem import Problem

if TYPE_CHECKING:
    from imagereg.priors.graph_groups import Groups


@dataclass(frozen=True, eq=False)
class TwoLevels:
    """M^-1 = (c + eta diag L^T L)^-1 + Z (c_Z Z^T Z + eta Z^T L^T L Z)^-1 Z^T for A^T A + eta L^T L.

    c is the mean of diag(A^T A), c_Z what the data hold a group by: ||A Z s||^2 / ||Z s||^2 for random signs
    s. Z are the `groups` of L where it has some; without them the second part is missing, and without
    a `gram_diagonal` M is 1. The entries of L^T L of a graph differ by orders of magnitude between flat
    regions and edges, which the first part evens out, and what varies slowly within a region costs next to
    nothing, which the second part finds in one step where local ones take hundreds.
    """

    curvature: torch.Tensor
    diagonal: torch.Tensor | None
    groups: tuple[Groups, ...]
    held: tuple[float, ...]
    factors: tuple[tuple[float, Any], ...] = ()

    @classmethod
    def of(cls, problem: Problem) -> TwoLevels:
        """For the fidelity and the one prior of a problem."""
        L = problem.priors[0].operator
        groups: tuple[Groups, ...] = getattr(L, "groups", ())
        held: tuple[float, ...] = ()
        if groups:
            like = problem.like
            # Every item has the same signs, so that it does not depend on its company.
            signs = [
                each.spread(np.random.default_rng(0).choice([-1.0, 1.0], len(each.sizes))) for each in groups
            ]
            probe = torch.from_numpy(np.stack(signs)).to(like).reshape(-1, 1, *like.shape[2:])
            probe = probe.expand_as(like).contiguous()
            curvature = problem.fidelity.curvature(problem.fidelity.estimate, problem.physics.A(probe))
            held = tuple((curvature.flatten() / probe[0].numel()).clamp_min(1e-30).tolist())
        return cls(mean_curvature(problem), getattr(L, "gram_diagonal", None), groups, held)

    def largest(self, norm: float) -> torch.Tensor:
        """mean(diag A^T A) / max(diag L^T L), or over norm^2 where that is not known, (B,)."""
        held = self.curvature.flatten().double()
        return held / (norm**2 if self.diagonal is None else self.diagonal.flatten(1).amax(1).double())

    def near(self, eta: torch.Tensor) -> TwoLevels:
        """These levels for each item's eta (B,): factors that are 4 times off are made anew."""
        if not self.groups:
            return self
        factors = []
        for item, value in enumerate(eta.clamp_min(1e-300).tolist()):
            known = self.factors[item] if self.factors else None
            if known is None or abs(math.log(value / known[0])) > math.log(4):
                known = value, self.groups[item].factor(self.held[item], value)
            factors.append(known)
        return replace(self, factors=tuple(factors))

    def solve(self, gradient: torch.Tensor, eta: torch.Tensor) -> torch.Tensor:
        """M^-1 times a gradient (B, C, ...) for each item's eta (B,), which must be `near`."""
        if self.diagonal is None:
            return gradient
        force = eta.to(gradient.dtype).reshape(-1, *([1] * (gradient.ndim - 1)))
        fine = gradient / (self.curvature + force * self.diagonal)
        if not self.groups:
            return fine
        for item, (groups, (_, factor)) in enumerate(zip(self.groups, self.factors, strict=True)):
            for channel, part in enumerate(gradient[item]):
                coarse = factor.solve(groups.gather(part.detach().flatten().cpu().numpy()))
                fine[item, channel] += torch.from_numpy(groups.spread(coarse)).to(part).reshape(part.shape)
        return fine
