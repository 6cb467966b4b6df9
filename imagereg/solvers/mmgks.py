"""Majorisation-minimisation in generalised Krylov subspaces (MM-GKS), with restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from imagereg.errors import UsageError
from imagereg.priors.power import PowerPrior, SmoothedPower
from imagereg.solvers.columns import Columns
from imagereg.solvers.problem import Refusal, inner
from imagereg.solvers.projected import ProjectedProblem, discrepancy_root, gcv_minimum
from imagereg.solvers.state import Memory
from imagereg.solvers.two_levels import TwoLevels

if TYPE_CHECKING:
    from imagereg.solvers.problem import Problem

ParameterRule = Literal["fixed", "discrepancy", "gcv"]
STRONG, FALL = 1e6, 0.6
"""Least eta of the first step by the discrepancy, in mean(diag A^T A) / max(diag L^T L), and its decay."""
CALM = 3
"""Small steps in a row that end an item."""


@dataclass(frozen=True)
class MMGKS:
    """min_x 1/2 ||A x - y||^2 + alpha sum phi(L x) over a growing subspace, phi a smoothed power.

    At u = L x_k the prior is replaced by the parabola of fixed curvature c = phi''(0) that touches it, with
    its minimum at w(u), and the quadratic problem

        min_z 1/2 ||A V z - y||^2 + (eta / 2) ||L V z - w(u)||^2,   eta = alpha c,

    is solved in the space V exactly, by thin QR factors of A V and L V. V then grows by the gradient
    A^T (A x - y) + eta L^T (L x - w(u)), preconditioned by `TwoLevels`: with a graph Laplacian dozens of
    steps do where thousands would be needed. At `restart` columns V starts again from x, the last step, which
    is what conjugate gradients remember too, and the gradient.

    The discrepancy cannot be met in a space of few dimensions, or only by next to no penalty, and directions
    that are found so lead nowhere. With the rule 'discrepancy' eta is therefore held up in the first steps,
    to 10^6 mean(diag A^T A) over max(diag L^T L) (||L||^2 where that is not known) and to 0.6 times as much
    at every further step. 'gcv' keeps eta from the first restart on: with their spaces the data and the probe
    lose what they know of other parameters, and eta would drift.

    Memory: `restart` images, as many L x and as many copies of the data. One step takes one A, one A^T and
    two L.

    Parameters
    ----------
    rule : how alpha is found. 'fixed': it is the prior's strength. 'discrepancy' and 'gcv' choose eta at
        every step in the current space and for each item, the prior's strength then being left out of
        account: 'discrepancy' so that ||A x - y|| = safety * noise_norm, 'gcv' at the least generalised
        cross-validation, for which a probe of random signs is solved alongside, at twice the cost, up to
        the first restart. The memory holds the current alpha as `strength`, shape (B,).
    noise_norm : expected ||A x - y|| of each item at the true image, for 'discrepancy'.
    safety : factor on it, a little above 1.
    restart : dimension at which the space starts again.
    tolerance : an item ends when ||x_{k+1} - x_k|| <= tolerance ||x_{k+1}|| in three steps in a row: in a
        space that has just started again, one step may be short although x has far to go.

    References
    ----------
    Lanza, Morigi, Reichel, Sgallari, "A generalized Krylov subspace method for lp-lq minimization", SIAM J.
    Sci. Comput. 37 (2015), doi:10.1137/140967982; Buccini, Reichel, "Limited memory restarted lp-lq
    minimization methods using generalized Krylov subspaces", Adv. Comput. Math. 49 (2023),
    doi:10.1007/s10444-023-10023-0.
    """

    rule: ParameterRule = "fixed"
    noise_norm: Sequence[float] = ()
    safety: float = 1.01
    restart: int = 30
    tolerance: float = 1e-4

    def check(self, problem: Problem) -> None:
        """Refuse what is not one least-squares term and one smoothed power without bounds."""
        from imagereg.fidelities.least_squares import LeastSquares

        if not isinstance(problem.fidelity, LeastSquares):
            raise Refusal(
                f"MM-GKS: {type(problem.fidelity).__name__} is not a least-squares fidelity; use PDHG."
            )
        if len(problem.priors) != 1 or not isinstance(problem.priors[0], PowerPrior):
            named = " and ".join(type(prior).__name__ for prior in problem.priors) or "no prior"
            raise Refusal(f"MM-GKS takes one PowerPrior and was given {named}; use PDHG.")
        if problem.bounds != (None, None):
            raise Refusal(f"MM-GKS cannot keep to the bounds {problem.bounds}; use PDHG or leave them out.")
        if self.restart < 2:
            raise UsageError(f"MM-GKS restart = {self.restart}: give a number of at least 2.")
        items = problem.fidelity.data.shape[0]
        if self.rule == "discrepancy" and len(self.noise_norm) != items:
            raise UsageError(
                f"MM-GKS: the discrepancy principle needs the noise norm of each of {items} items and was "
                f"given {len(self.noise_norm)}; state the noise, or choose by 'gcv'."
            )

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """Start from `start`, or from the steepest-descent step t A^T y, and the space of that image."""
        whitened, root = _whitened(problem)
        if start is None:
            back = problem.physics.A_adjoint(whitened * root)
            Ag = problem.physics.A(back) * root
            tiny = torch.finfo(back.dtype).tiny
            step = inner(back, back).flatten() / inner(Ag, Ag).flatten().clamp_min(tiny)
            start = back * step.reshape(-1, *([1] * (back.ndim - 1)))
        image = start
        items = image.shape[0]
        scaling = TwoLevels.of(problem)
        memory: Memory = {
            "image": image,
            "strength": torch.zeros(items, dtype=torch.float64, device=image.device),
            "done": torch.zeros(items, dtype=torch.bool, device=image.device),
            "finished": "",
            "scaling": scaling,
            "least": self._least(problem, scaling),
            "calm": torch.zeros(items, dtype=torch.int64, device=image.device),
            **self._space(problem, image, None, whitened, root),
        }
        if self.rule == "gcv":
            signs = _signs(whitened, 1)
            Ax = problem.physics.A_adjoint(signs * root)
            space = self._space(problem, Ax, None, signs, root)
            memory.update({f"probe_{name}": value for name, value in space.items()})
            memory["probe_image"] = Ax
        return memory

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """Solve in the space, then let it grow by the gradient there."""
        whitened, root = _whitened(problem)
        penalty = problem.priors[0].outer
        assert isinstance(penalty, SmoothedPower)
        kept = self.rule == "gcv" and "probe_V" not in memory
        signs = _signs(whitened, 1) if self.rule == "gcv" and not kept else None
        target = penalty.target(memory["penalised"])
        small = _projected(memory, target)
        probe = None if signs is None else _projected(_of_probe(memory), torch.zeros_like(target))
        smoothing = torch.as_tensor(penalty.smoothing, dtype=torch.float64, device=whitened.device)
        curvature = smoothing.flatten() ** (penalty.power - 2)
        known = memory["strength"] if kept else penalty.strength
        wanted = self._eta(small, probe, known, curvature)
        eta = torch.maximum(wanted, memory["least"])

        memory = {**memory, "scaling": memory["scaling"].near(eta)}
        new = self._advance(problem, memory, small, eta, whitened, target, root)
        restarted = len(new["V"]) <= len(memory["V"])
        if probe is not None and signs is not None and not restarted:
            aside = self._advance(
                problem, _of_probe(memory), probe, eta, signs, torch.zeros_like(target), root
            )
            new.update({f"probe_{name}": value for name, value in aside.items() if name != "Ax"})

        # Items that have ended stay as they are, so that an image does not depend on its company.
        ended = memory["done"]
        still = ended.reshape(-1, *([1] * (new["image"].ndim - 1)))
        image = torch.where(still, memory["image"], new["image"])
        moved = (image - memory["image"]).flatten(1).norm(dim=1)
        short = moved <= self.tolerance * image.flatten(1).norm(dim=1)
        calm = torch.where(short & (eta == wanted), memory["calm"] + 1, 0)
        done = ended | (calm >= CALM)
        Ax = new.pop("Ax")
        if problem.fidelity.weights is None:  # type: ignore[attr-defined]
            still = ended.reshape(-1, *([1] * (Ax.ndim - 1)))
            new["forward"] = torch.where(still, memory.get("forward", Ax), Ax)
        return {
            **new,
            "image": image,
            "scaling": memory["scaling"],
            "calm": calm,
            "least": memory["least"] * FALL,
            "strength": torch.where(ended, memory["strength"], eta / curvature),
            "done": done,
            "finished": f"change below {self.tolerance:g}" if bool(done.all()) else "",
        }

    def _least(self, problem: Problem, scaling: TwoLevels) -> torch.Tensor:
        """The least eta (B,) of the first step."""
        largest = scaling.largest(problem.priors[0].operator.norm)
        return STRONG * largest if self.rule == "discrepancy" else torch.zeros_like(largest)

    def _eta(
        self, small: ProjectedProblem, probe: ProjectedProblem | None, strength: Any, curvature: torch.Tensor
    ) -> torch.Tensor:
        if probe is not None:
            return gcv_minimum(small, probe)
        if self.rule == "discrepancy":
            norms = torch.as_tensor(list(self.noise_norm), dtype=torch.float64, device=small.tail.device)
            return discrepancy_root(small, self.safety * norms)
        given = torch.as_tensor(strength, dtype=torch.float64).to(small.tail.device).flatten()
        return (given * curvature).expand_as(small.tail)

    def _advance(
        self,
        problem: Problem,
        space: Memory,
        small: ProjectedProblem,
        eta: torch.Tensor,
        whitened: torch.Tensor,
        target: torch.Tensor,
        root: Any,
    ) -> Memory:
        """The minimiser in a space, what is known of it, and the space grown by the gradient there."""
        L = problem.priors[0].operator
        z = small.solve(eta)
        image = space["V"].combine(z, space["image"])
        Ax = space["QA"].combine(_times(space["R_A"], z), whitened)
        penalised = space["QL"].combine(_times(space["R_L"], z), target)
        shape = (-1, *([1] * (image.ndim - 1)))
        force = eta.to(image.dtype).reshape(shape)
        gradient = problem.physics.A_adjoint((Ax - whitened) * root)
        gradient = gradient + force * L.A_adjoint(penalised - target)
        direction = space["scaling"].solve(gradient, eta)
        if len(space["V"]) >= self.restart:
            space = self._space(problem, image, space["image"], whitened, root)
        grown = self._grow(problem, space, direction, root)
        return {"image": image, "Ax": Ax, "penalised": penalised, **grown}

    def _space(
        self,
        problem: Problem,
        image: torch.Tensor,
        before: torch.Tensor | None,
        data: torch.Tensor,
        root: Any,
    ) -> Memory:
        """The space of an image and of the last step to it, with its factors and L x."""
        none = torch.zeros(image.shape[0], 0, 0, dtype=torch.float64, device=image.device)
        penalised = problem.priors[0].operator.A(image)
        space: Memory = {
            "V": Columns.none(image, self.restart),
            "QA": Columns.none(data, self.restart),
            "QL": Columns.none(penalised, self.restart),
            "R_A": none,
            "R_L": none,
            "b": none.flatten(1),
            "rest": data,
        }
        for vector in (image,) if before is None else (image, image - before):
            space = self._grow(problem, space, vector, root)
        return {**space, "penalised": penalised}

    def _grow(self, problem: Problem, space: Memory, vector: torch.Tensor, root: Any) -> Memory:
        """The space with one more vector."""
        _, column, size = space["V"].split(vector)
        absent = size == 0
        QA, R_A, new = _append(space["QA"], space["R_A"], problem.physics.A(column) * root, absent)
        QL, R_L, _ = _append(space["QL"], space["R_L"], problem.priors[0].operator.A(column), absent)
        # What the space leaves of the data is carried along: the difference of two squared norms would drown
        # a noise of 2 % in the rounding of single precision, and the discrepancy principle with it.
        along = inner(new, space["rest"])
        return {
            "V": space["V"].joined(column),
            "QA": QA,
            "QL": QL,
            "R_A": R_A,
            "R_L": R_L,
            "b": torch.cat([space["b"], along.reshape(-1, 1).double()], dim=1),
            "rest": space["rest"] - along * new,
        }


def _projected(space: Memory, target: torch.Tensor) -> ProjectedProblem:
    """The problem in a space."""
    rest = space["rest"]
    return ProjectedProblem.of(
        space["R_A"],
        space["R_L"],
        space["b"],
        space["QL"].dots(target),
        tail=inner(rest, rest).flatten().double(),
        size=rest[0].numel(),
    )


def _of_probe(memory: Memory) -> Memory:
    """The space of the probe."""
    names = ("V", "QA", "QL", "R_A", "R_L", "b", "rest", "image", "penalised")
    return {"scaling": memory["scaling"], **{name: memory[f"probe_{name}"] for name in names}}


def _whitened(problem: Problem) -> tuple[torch.Tensor, Any]:
    """Data times the square root of their weights, and that root (1 where there are none)."""
    fidelity: Any = problem.fidelity
    root = 1.0 if fidelity.weights is None else fidelity.weights.sqrt()
    return fidelity.data * root, root


def _signs(like: torch.Tensor, seed: int) -> torch.Tensor:
    """Random signs, the same at every call and for every item."""
    signs = torch.randint(2, like.shape[1:], generator=torch.Generator().manual_seed(seed))
    return (2.0 * signs - 1.0).to(like).expand(like.shape)


def _times(R: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return (R @ z[..., None])[..., 0]


def _append(
    Q: Columns, R: torch.Tensor, new: torch.Tensor, absent: torch.Tensor
) -> tuple[Columns, torch.Tensor, torch.Tensor]:
    """QR factors with one more column, and that column of Q.

    Items in `absent` have nothing to add and the column is zero; 1 on the diagonal then keeps the new
    coefficient apart, at 0.
    """
    k = R.shape[-1]
    along, rest, size = Q.split(new)
    grown = torch.zeros(R.shape[0], k + 1, k + 1, dtype=R.dtype, device=R.device)
    grown[:, :k, :k] = R
    grown[:, :k, k] = along
    grown[:, k, k] = torch.where(absent, torch.ones_like(size), size)
    return Q.joined(rest), grown, rest
