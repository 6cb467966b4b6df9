"""The laws that physics, penalties, priors and methods of other packages must keep: call these in your tests.

Each call returns nothing, or raises `LawBroken` with one sentence that says which law, and by how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from imagereg.errors import UsageError
from imagereg.measurement import Measurement
from imagereg.methods.base import Method
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.physics.certificate import Certificate
    from imagereg.priors.base import Functional, Prior


class LawBroken(AssertionError):
    """A law does not hold."""


def check_physics(physics: Any, like: torch.Tensor, *, tolerance: float | None = None) -> Certificate:
    """A is linear and `A_adjoint` its transpose: <A x, y> = <x, A^T y> for signed noise.

    Parameters
    ----------
    physics : a deepinv `LinearPhysics`.
    like : an image (B, C, ...) that it takes; shape and dtype count, values do not.
    tolerance : relative error allowed; 1e-12 in double and 1e-5 in single precision where not given.

    Returns
    -------
    The certificate: norm, adjoint error, linearity error.

    Raises
    ------
    LawBroken
        When it is not linear, or the adjoint is another operator's.
    """
    from imagereg.physics import certify

    allowed = _allowed(like, tolerance)
    certificate = certify(physics, like)
    name = type(physics).__name__
    if certificate.linearity_error > allowed:
        raise LawBroken(f"{name}: A is not linear (relative error {certificate.linearity_error:.2g}).")
    if certificate.adjoint_error > allowed:
        raise LawBroken(
            f"{name}: A_adjoint is not the transpose of A (<A x, y> and <x, A^T y> differ by "
            f"{certificate.adjoint_error:.2g} of |A x| |y|)."
        )
    return certificate


def check_functional(functional: Functional, like: torch.Tensor, *, tolerance: float = 1e-6) -> None:
    """`prox` minimises g(w) + ||w - z||^2 / (2 gamma), is firmly non-expansive, and fits `fn`.

    Parameters
    ----------
    functional : g, convex.
    like : (B, ...) what it takes; shape and dtype count, values do not.
    tolerance : of the inequalities, relative to ||z||^2 / gamma.

    Raises
    ------
    LawBroken
        When some w is better than the proximal point, or two proximal points lie too far apart.
    """
    for gamma in (0.05, 1.0, 20.0):
        _check_prox(
            type(functional).__name__,
            functional.fn,
            lambda z, gamma=gamma: functional.prox(z, gamma),
            like,
            gamma,
            tolerance,
        )


def check_prior(prior: Prior, like: torch.Tensor, *, tolerance: float = 1e-4) -> None:
    """The operator K is linear, has its own transpose and norm, and `prox`, where there is one, minimises.

    Parameters
    ----------
    prior : g(K x), convex.
    like : an image (B, C, ...) that it takes; shape and dtype count, values do not.
    tolerance : of the proximal operator, which may be iterative.

    Raises
    ------
    LawBroken
        When one of them does not hold; the sentence says which.
    """
    from imagereg.priors.base import Prior as Base

    name, operator = type(prior).__name__, prior.operator
    x = _noise(like, 0)
    Ax = operator.A(x)
    z = _noise(Ax, 1)
    difference = abs(float((Ax * z).sum() - (x * operator.A_adjoint(z)).sum()))
    size = float(Ax.norm() * z.norm())
    if difference > _allowed(like, None) * size:
        raise LawBroken(f"{name}: A_adjoint of its operator is not the transpose ({difference / size:.2g}).")
    for _ in range(50):
        x = operator.A_adjoint(operator.A(x / x.norm()))
    found = float(x.norm()) ** 0.5
    if found > operator.norm * (1 + 1e-5):
        raise LawBroken(
            f"{name}: its operator has a norm of {found:.4g} at least and says {operator.norm:.4g}."
        )
    if type(prior).prox is Base.prox or prior.fn(x) is None:
        return

    def value(image: torch.Tensor) -> torch.Tensor:
        held = prior.fn(image)
        assert held is not None
        return held

    for gamma in (0.2, 2.0):
        _check_prox(name, value, lambda z, gamma=gamma: prior.prox(z, gamma), like, gamma, tolerance)


def check_method(method: Method, measurement: Measurement) -> State:
    """The card is complete, runs end with a reason, and equal seeds give equal bytes.

    Parameters
    ----------
    method : the method, with parameters that make it quick.
    measurement : data that it fits.

    Returns
    -------
    The last state.

    Raises
    ------
    LawBroken
        When the card lacks something, the run leaves the measurement changed, or two runs differ.
    """
    from imagereg.engine import iterate

    name = getattr(method, "name", "") or type(method).__name__
    for part in ("name", "title", "summary"):
        if not getattr(method, part, ""):
            raise LawBroken(f"{name}: the class has no `{part}`.")
    for field, declared in type(method).model_fields.items():
        if not declared.description:
            raise LawBroken(f"{name}.{field}: has no description; declare it with `parameter`.")
    if method.main and method.main not in type(method).model_fields:
        raise LawBroken(f"{name}: its main parameter {method.main!r} is none of its parameters.")
    if refusal := method.refusal(measurement):
        raise UsageError(f"check_method: {refusal}.")
    before = torch.as_tensor(measurement.data).clone()
    first, second = (list(iterate(measurement, method, device="cpu", seed=0)) for _ in range(2))
    if not first or not first[-1].finished:
        raise LawBroken(f"{name}: the last state does not say why it is the last (`finished`).")
    if not torch.equal(torch.as_tensor(measurement.data), before):
        raise LawBroken(f"{name}: a run changes the data of the measurement.")
    if not bool(torch.isfinite(first[-1].image).all()):
        raise LawBroken(f"{name}: the image holds values that are not finite.")
    if not torch.equal(first[-1].image, second[-1].image):
        raise LawBroken(f"{name}: two runs with one seed give different images.")
    return first[-1]


def _check_prox(name: str, value: Any, prox: Any, like: torch.Tensor, gamma: float, tolerance: float) -> None:
    z, other = _noise(like, 2), _noise(like, 3)
    p, q = prox(z), prox(other)
    slack = tolerance * float(z.square().sum()) * max(1.0, 1 / gamma)
    for w in (_noise(like, 4), p + 1e-2 * _noise(like, 5), torch.zeros_like(z), z):
        better = float((value(p) + ((z - p) / gamma * (w - p)).flatten(1).sum(1) - value(w)).max())
        if better > slack:
            raise LawBroken(f"{name}: prox with gamma = {gamma:g} is not the minimiser (by {better:.2g}).")
    d = p - q
    if float(((d * d) - d * (z - other)).sum()) > slack:
        raise LawBroken(f"{name}: prox with gamma = {gamma:g} moves images apart, so g is not convex.")


def _allowed(like: torch.Tensor, tolerance: float | None) -> float:
    return tolerance or (1e-12 if like.dtype in (torch.float64, torch.complex128) else 1e-5)


def _noise(like: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)
