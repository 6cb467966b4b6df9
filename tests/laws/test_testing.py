"""The public laws: what keeps them passes, and each kind of mistake is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar

import deepinv.physics
import pytest
import torch

import imagereg as ir
from imagereg.methods.base import Method
from imagereg.parameters import parameter
from imagereg.physics import gaussian_kernel
from imagereg.priors.base import Functional, LinearMap, Prior
from imagereg.priors.gradient import Gradient
from imagereg.priors.norms import L1, L21
from imagereg.priors.quadratic import Quadratic
from imagereg.priors.tv import TV
from imagereg.solvers.state import State
from imagereg.testing import LawBroken, check_functional, check_method, check_physics, check_prior

RUNS = count()
LIKE = torch.zeros(2, 1, 12, 10, dtype=torch.float64)


class Shift(deepinv.physics.LinearPhysics):
    """y = x moved by one row, back again, or twice with an offset."""

    def __init__(self, back: int = -1, offset: float = 0.0) -> None:
        super().__init__()
        self.back, self.offset = back, offset

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.roll(x, 1, 2) + self.offset

    def A_adjoint(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.roll(y, self.back, 2)


def test_operators_that_keep_the_laws() -> None:
    assert check_physics(Shift(), LIKE).norm == pytest.approx(1, abs=1e-3)
    check_physics(ir.blur(gaussian_kernel(1.0), dtype=torch.float64), LIKE)
    check_physics(Shift(), LIKE.float())


@pytest.mark.parametrize(
    ("physics", "sentence"), [(Shift(back=1), "not the transpose"), (Shift(offset=1.0), "not linear")]
)
def test_wrong_operators_are_found(physics: Any, sentence: str) -> None:
    with pytest.raises(LawBroken, match=sentence):
        check_physics(physics, LIKE)


@pytest.mark.parametrize("functional", [L1(0.7), L21(0.7)])
def test_functionals_that_keep_the_laws(functional: Functional) -> None:
    check_functional(functional, Gradient().A(LIKE))


class HardThreshold(Functional):
    """The number of entries that are not zero: prox is right, and not that of a convex function."""

    def fn(self, z: torch.Tensor) -> torch.Tensor:
        return (z != 0).flatten(1).sum(1).to(z)

    def prox(self, z: torch.Tensor, gamma: Any) -> torch.Tensor:
        return z * (z.square() > 2 * gamma)


class WrongStep(L1):
    """Soft thresholding that forgets the step."""

    def prox(self, z: torch.Tensor, gamma: Any) -> torch.Tensor:
        return super().prox(z, 1.0)


@pytest.mark.parametrize("functional", [HardThreshold(), WrongStep(0.7)])
def test_wrong_proximal_operators_are_found(functional: Functional) -> None:
    with pytest.raises(LawBroken, match=r"not the minimiser|moves images apart"):
        check_functional(functional, LIKE)


class Halved(LinearMap):
    """A gradient with half of its norm, or of its transpose."""

    def __init__(self, norm: float, transpose: float) -> None:
        self.inner, self.norm, self.transpose = Gradient(), norm, transpose

    def A(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.A(x)

    def A_adjoint(self, z: torch.Tensor) -> torch.Tensor:
        return self.transpose * self.inner.A_adjoint(z)


def prior_of(operator: LinearMap) -> Prior:
    prior = Prior()
    prior.operator, prior.outer = operator, L21(1.0)
    return prior


def test_priors() -> None:
    check_prior(TV(0.4, accuracy=1e-10, iterations=2000), LIKE)
    check_prior(Quadratic(0.7), LIKE)
    check_prior(prior_of(Gradient()), LIKE)
    with pytest.raises(LawBroken, match="has a norm of"):
        check_prior(prior_of(Halved(1.4, 1.0)), LIKE)
    with pytest.raises(LawBroken, match="not the transpose"):
        check_prior(prior_of(Halved(2.9, 0.5)), LIKE)


class Smooth(Method):
    """One local mean, with a fault to choose."""

    name: ClassVar[str] = "smooth_for_test"
    title: ClassVar[str] = "Local mean"
    summary: ClassVar[str] = "means of 3 x 3 pixels"
    reference: ClassVar[str] = ""

    fault: str = parameter("", "what is wrong")

    def iterate(self, measurement: ir.Measurement) -> Iterator[State]:
        data = measurement.data
        image = torch.nn.functional.avg_pool2d(data, 3, 1, 1)
        if self.fault == "changes":
            data.zero_()
        if self.fault == "random":
            image = image + torch.randn(image.shape, generator=torch.Generator().manual_seed(next(RUNS)))
        if self.fault == "nan":
            image = image * float("nan")
        yield State(image, 1, 1, finished="" if self.fault == "silent" else "1 step")


class Undescribed(Smooth):
    name: ClassVar[str] = "undescribed_for_test"
    width: int = 3


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (Smooth(fault="changes"), "changes the data"),
        (Smooth(fault="random"), "different images"),
        (Smooth(fault="nan"), "not finite"),
        (Smooth(fault="silent"), "why it is the last"),
        (Undescribed(), "no description"),
    ],
)
def test_wrong_methods_are_found(method: Method, sentence: str) -> None:
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(LawBroken, match=sentence):
        check_method(method, ir.Measurement(image))


@pytest.mark.parametrize("method", [Smooth(), ir.method("tv", iterations=5), ir.method("wavelet")])
def test_methods_that_keep_the_laws(method: Method) -> None:
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert check_method(method, ir.Measurement(image)).finished


class Unconjugated(L21):
    """A penalty whose author has not worked out its conjugate."""

    conjugate = Functional.conjugate


def test_a_penalty_without_a_conjugate_is_minimised_without_a_gap() -> None:
    from imagereg.errors import UsageError
    from imagereg.fidelities.least_squares import LeastSquares
    from imagereg.solvers.base import iterate
    from imagereg.solvers.pdhg import PDHG
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.stopping import DualityGap

    prior = prior_of(Gradient())
    prior.outer = Unconjugated(0.1)
    problem = Problem(LeastSquares(torch.rand(1, 1, 8, 8)), Shift(), (prior,))
    *_, last = iterate(PDHG(), problem, total=5)
    assert last.gap is None and last.objective is not None
    with pytest.raises(UsageError, match="no duality gap"):
        list(iterate(PDHG(), problem, total=50, stop=DualityGap(1e-3)))
