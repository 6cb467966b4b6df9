"""The formula as an object: min over bounds of fidelity(A x) + sum of priors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from imagereg.errors import UsageError
from imagereg.physics.distributed import summed

if TYPE_CHECKING:
    from imagereg.fidelities.base import Fidelity
    from imagereg.priors.base import Prior


class Refusal(UsageError):
    """A solver cannot take a term of the problem; the sentence names the term and a solver that can."""


@dataclass(frozen=True, eq=False)
class Problem:
    """min over x in [low, high] of fidelity(A x) + sum_i prior_i(x), prior_i(x) = g_i(K_i x).

    Parameters
    ----------
    fidelity : the data term, which holds y.
    physics : A; any deepinv `LinearPhysics` (or a `Physics` for solvers that only need gradients).
    priors : the regularisation terms, strengths included.
    bounds : (low, high) for every pixel, None for no bound on that side.
    """

    fidelity: Fidelity
    physics: Any
    priors: tuple[Prior, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)

    def __post_init__(self) -> None:
        low, high = self.bounds
        if low is not None and high is not None and not low < high:
            raise UsageError(
                f"bounds ({low}, {high}): give (low, high) with low < high, or None for no bound."
            )

    @property
    def linear(self) -> bool:
        """Whether A is linear, so that it has an adjoint and a norm."""
        return hasattr(self.physics, "A_adjoint")

    @cached_property
    def like(self) -> torch.Tensor:
        """An image of zeros in the shape, dtype and device of solutions.

        Raises
        ------
        Refusal
            Where A is not linear, so that the data do not say what images look like.
        """
        if not self.linear:
            raise Refusal(f"{type(self.physics).__name__} is not linear: give an image to start from.")
        with torch.no_grad():
            return torch.zeros_like(self.physics.A_adjoint(torch.zeros_like(self.fidelity.data)))

    @cached_property
    def norm(self) -> float:
        """||A||, from the physics' certificate or by power iteration."""
        from imagereg.physics.certificate import operator_norm

        return operator_norm(self.physics, self.like)

    def adjoint(self, image: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """A^T u, or J^T u with the Jacobian J of A at the image where A is not linear."""
        return self.physics.A_adjoint(u) if self.linear else self.physics.A_vjp(image, u)

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """The nearest image within the bounds."""
        low, high = self.bounds
        return image if low is None and high is None else image.clamp(low, high)

    def objective(self, image: torch.Tensor, *, forward: torch.Tensor | None = None) -> float | None:
        """fidelity(A x) + sum of priors over the whole batch; None where a prior has no value.

        `forward` is A x where it is already known.
        """
        with torch.no_grad():
            forward = self.physics.A(image) if forward is None else forward
            terms = [self.fidelity.fn(forward)]
            for prior in self.priors:
                value = prior.fn(image)
                if value is None:
                    return None
                terms.append(value)
            return float(summed(torch.stack([term.double().sum() for term in terms]).sum()))

    def residual(self, image: torch.Tensor, *, forward: torch.Tensor | None = None) -> float:
        """||A x - y|| / ||y|| over the whole batch; y is the u that explains the data best."""
        with torch.no_grad():
            forward = self.physics.A(image) if forward is None else forward
            data = self.fidelity.estimate
            return float(size_of(forward - data) / size_of(data).clamp_min(torch.finfo(data.dtype).tiny))


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """<a, b> of each item of the batch, shaped (B, 1, ..., 1) so that it multiplies images.

    Items of a batch are independent problems, so that a slice comes out the same whatever its company.
    """
    product = (a.conj() * b).real if a.is_complex() else a * b
    return summed(product.flatten(1).sum(1)).reshape(-1, *([1] * (a.ndim - 1)))


def size_of(a: torch.Tensor) -> torch.Tensor:
    """||a|| over the whole batch."""
    return summed(a.norm().square()).sqrt()
