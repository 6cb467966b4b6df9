"""Least squares with several terms by conjugate gradients, each item of a batch on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from imagereg.fidelities.base import Step, align
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.physics.distributed import own_rows, summed, whole_shape
from imagereg.priors.base import IdentityMap, LinearMap, Prior
from imagereg.priors.quadratic import Quadratic
from imagereg.solvers.problem import Problem, Refusal, inner
from imagereg.solvers.state import Memory

if TYPE_CHECKING:
    from imagereg.fidelities.base import Fidelity

Map = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Block:
    """The term 1/2 <M x - b, w (M x - b)> of a least-squares problem.

    Parameters
    ----------
    forward, adjoint : M and its transpose.
    weigh : multiplication by w, positive semi-definite.
    target : b; 0 where not given.
    """

    forward: Map
    adjoint: Map
    weigh: Map
    target: torch.Tensor | None = None

    def misfit(self, Mx: torch.Tensor) -> torch.Tensor:
        """w (b - M x) for known M x."""
        return self.weigh(-Mx if self.target is None else self.target - Mx)


def data_block(problem: Problem) -> Block:
    """The least-squares fidelity of a problem as a block."""
    fidelity = problem.fidelity
    assert isinstance(fidelity, LeastSquares)
    return Block(problem.physics.A, problem.physics.A_adjoint, fidelity.weigh, fidelity.data)


def penalty_block(operator: LinearMap, strength: Step, target: torch.Tensor | None = None) -> Block:
    """strength / 2 ||K x - target||^2 as a block; the strength is one number, or one an item."""
    return Block(operator.A, operator.A_adjoint, lambda z: align(strength, z) * z, target)


def begin(blocks: Sequence[Block], image: torch.Tensor, Mx: Sequence[torch.Tensor] | None = None) -> Memory:
    """The state of conjugate gradients at an image; `Mx` are the M x of the blocks where known."""
    views = [block.forward(image) for block in blocks] if Mx is None else list(Mx)
    parts = [block.adjoint(block.misfit(view)) for block, view in zip(blocks, views, strict=True)]
    residual = _sum(parts)
    size = inner(residual, residual)
    # What the blocks pull in different directions cancels at the minimum, up to rounding.
    floor = torch.finfo(residual.dtype).eps ** 2 * _sum(inner(part, part) for part in parts)
    return {
        "image": image,
        "Mx": views,
        "residual": residual,
        "direction": residual,
        "size": size,
        "first": size,
        "floor": floor,
    }


def advance(blocks: Sequence[Block], memory: Memory) -> Memory:
    """One step of conjugate gradients, one application of each M and of its transpose.

    The residual of the normal equations, the negative gradient, is taken anew from those of the blocks, as in
    CGLS, which keeps its digits. The step is the exact one along the direction, <residual, direction> over
    the curvature: for conjugate directions that is the usual quotient, and where rounding has spoilt them, as
    after a start next to the minimum, the usual quotient would let the iterates grow without end.
    """
    direction, size = memory["direction"], memory["size"]
    images = [block.forward(direction) for block in blocks]
    curvature = _sum(
        inner(q, block.weigh(q)).reshape_as(size) for block, q in zip(blocks, images, strict=True)
    )
    step = _ratio(inner(memory["residual"], direction), curvature)
    Mx = [view + align(step, q) * q for view, q in zip(memory["Mx"], images, strict=True)]
    residual = _sum(block.adjoint(block.misfit(view)) for block, view in zip(blocks, Mx, strict=True))
    new = inner(residual, residual)
    following = residual + _ratio(new, size) * direction
    downhill = inner(residual, following) > 0
    return {
        "image": memory["image"] + step * direction,
        "Mx": Mx,
        "residual": residual,
        "direction": torch.where(downhill, following, residual),
        "size": new,
        "first": memory["first"],
        "floor": memory["floor"],
    }


def solve(
    blocks: Sequence[Block],
    image: torch.Tensor,
    Mx: Sequence[torch.Tensor] | None = None,
    *,
    iterations: int,
    tolerance: float,
) -> Memory:
    """Steps of conjugate gradients until every item's gradient is `tolerance` times the first one.

    An item is done, too, where its gradient is rounding of what the blocks pull in different directions.
    """
    memory = begin(blocks, image, Mx)
    for _ in range(iterations):
        enough = torch.maximum(tolerance**2 * memory["first"], memory["floor"])
        done = (memory["size"] <= enough).flatten()
        if bool(done.all()):
            break
        advanced = advance(blocks, memory)
        # An item that is done stays as it is, so that its company makes no difference.
        memory = {name: _kept(done, memory[name], value) for name, value in advanced.items()}
    return memory


def _kept(done: torch.Tensor, old: Any, new: Any) -> Any:
    """`old` for the items that are done and `new` for the others, in tensors and lists of tensors."""
    if isinstance(new, torch.Tensor):
        return torch.where(done.reshape(-1, *[1] * (new.ndim - 1)), old, new) if bool(done.any()) else new
    if isinstance(new, list | tuple):
        return type(new)(_kept(done, a, b) for a, b in zip(old, new, strict=True))
    return new


def quick_fit(problem: Problem, *, iterations: int = 5) -> torch.Tensor:
    """A few steps of CGLS towards the u that explains the data best, from 0: a quick reconstruction."""
    fidelity = problem.fidelity
    weights = fidelity.weights if isinstance(fidelity, LeastSquares) else None
    fit = LeastSquares(fidelity.estimate, weights)
    block = Block(problem.physics.A, problem.physics.A_adjoint, fit.weigh, fit.data)
    nothing = torch.zeros_like(fit.data)
    return solve([block], problem.like, [nothing], iterations=iterations, tolerance=1e-3)["image"]


def proximal_point(problem: Problem, centre: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
    """argmin_x f(A x) + weight / 2 ||x - centre||^2 in closed form; None where the physics has none.

    A physics with a known singular value decomposition (deepinv's `DecomposablePhysics`: circular
    convolution, masks, MRI, identity) solves it exactly for least squares without weights.
    """
    from deepinv.physics import DecomposablePhysics

    fidelity: Fidelity = problem.fidelity
    plain = isinstance(fidelity, LeastSquares) and fidelity.weights is None
    if not (plain and isinstance(problem.physics, DecomposablePhysics)):
        return None
    return problem.physics.prox_l2(centre, fidelity.data, gamma=1 / weight)


def near(
    problem: Problem,
    centre: torch.Tensor,
    weight: torch.Tensor,
    *,
    iterations: int = 20,
    tolerance: float = 1e-2,
) -> torch.Tensor:
    """argmin_x f(A x) + weight / 2 ||x - centre||^2: in closed form, else by conjugate gradients from centre.

    Parameters
    ----------
    weight : of each item, (B, 1, ...).
    iterations, tolerance : conjugate gradients: steps at most, and reduction of the gradient.
    """
    found = proximal_point(problem, centre, weight)
    if found is not None:
        return found
    blocks = [data_block(problem), penalty_block(IdentityMap(), weight, centre)]
    return solve(blocks, centre, iterations=iterations, tolerance=tolerance)["image"]


def mean_curvature(problem: Problem) -> torch.Tensor:
    """trace(A^T f'' A) / number of pixels, of each item shaped (B, 1, ..., 1), from one vector of signs.

    It is how strongly a typical pixel is held by the data: 1 for denoising.
    """
    like = problem.like
    generator = torch.Generator().manual_seed(0)
    signs = own_rows(torch.randint(2, whole_shape(like[:1].shape), generator=generator)) * 2.0 - 1.0
    probe = problem.physics.A(signs.to(like).expand_as(like).contiguous())
    curvature = summed(problem.fidelity.curvature(problem.fidelity.estimate, probe))
    return (curvature / math.prod(whole_shape(like[:1].shape))).reshape(-1, *[1] * (like.ndim - 1))


def require_least_squares(problem: Problem, who: str) -> None:
    """Refuse what is not a linear least-squares problem with quadratic priors and no bounds."""
    require_linear(problem, who)
    if not isinstance(problem.fidelity, LeastSquares):
        raise Refusal(f"{who}: {type(problem.fidelity).__name__} is not a least-squares fidelity; use FISTA.")
    for prior in problem.priors:
        if not isinstance(prior, Quadratic):
            raise Refusal(f"{who} takes quadratic priors only, not {type(prior).__name__}; use PDHG.")
    if problem.bounds != (None, None):
        raise Refusal(f"{who} cannot keep to the bounds {problem.bounds}; use FISTA or leave them out.")


def require_linear(problem: Problem, who: str) -> None:
    """Refuse physics without an adjoint."""
    if not problem.linear:
        raise Refusal(f"{who}: {type(problem.physics).__name__} is not linear; use FISTA or L-BFGS.")


def name_of(prior: Prior) -> str:
    """The name of a prior's class, for sentences."""
    return type(prior).__name__


def _sum(terms: Iterable[torch.Tensor]) -> torch.Tensor:
    total: torch.Tensor | None = None
    for term in terms:
        total = term if total is None else total + term
    assert total is not None
    return total


def _ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """above / below, 0 where below is 0: an item that has converged stays where it is."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)
