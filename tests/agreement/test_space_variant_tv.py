"""Space-variant TV against plain TV, scikit-image and CVXPY, and what its weights do."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import torch
from deepinv.physics import LinearPhysics

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.priors.gradient import Gradient
from imagereg.priors.tv import TV
from imagereg.priors.weights import edge_weights
from imagereg.solvers.base import iterate
from imagereg.solvers.pdhg import PDHG
from imagereg.solvers.problem import Problem
from imagereg.solvers.state import State
from imagereg.solvers.stopping import DualityGap

SIDE = 16


class Dense(LinearPhysics):
    """A random matrix with fewer rows than pixels."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix = torch.randn(160, SIDE**2, dtype=torch.float64, generator=generator) / SIDE

    def A(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        return (x.flatten(1) @ self.matrix.T)[:, None, None]

    def A_adjoint(self, y: torch.Tensor, **_: object) -> torch.Tensor:
        return (y.flatten(1) @ self.matrix).reshape(-1, 1, SIDE, SIDE)


class Same(LinearPhysics):
    """The identity."""

    def A(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        return x

    def A_adjoint(self, y: torch.Tensor, **_: object) -> torch.Tensor:
        return y


def phantom() -> torch.Tensor:
    x = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    x[..., 3:10, 4:13] = 1.0
    x[..., 6:9, 6:9] = 0.4
    x[..., 12, 3] = 0.8
    return x


def data(level: float = 0.02) -> tuple[Dense, torch.Tensor]:
    physics = Dense()
    clean = physics.A(phantom())
    noise = torch.randn(clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return physics, clean + level * clean.norm() / noise.norm() * noise


def solve(problem: Problem, tolerance: float = 1e-9, total: int = 30000) -> torch.Tensor:
    state: State = deque(
        iterate(PDHG(), problem, total=total, stop=DualityGap(tolerance, every=100)), maxlen=1
    )[0]
    assert "gap" in state.finished, state.finished
    return state.image


def by_method(physics: LinearPhysics, y: torch.Tensor, name: str, **parameters: object) -> torch.Tensor:
    settings = {"iterations": 20000, "tolerance": 1e-9, "nonnegative": "yes", **parameters}
    return ir.reconstruct(
        ir.Measurement(y, physics=physics, truth=phantom()), name, precision="float64", **settings
    ).image


def test_cvxpy_finds_the_same_minimum() -> None:
    cvxpy = pytest.importorskip("cvxpy")
    physics, y = data()
    estimate = phantom() + 0.05 * torch.randn(
        1, 1, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    w, strength = edge_weights(estimate, eta=0.02, p=0.3), 0.02
    problem = Problem(LeastSquares(y), physics, (TV(strength, weight=w),), (0.0, None))
    ours = problem.objective(solve(problem))
    x = cvxpy.Variable((SIDE, SIDE))
    rows, columns = cvxpy.diff(x, axis=0), cvxpy.diff(x, axis=1)
    zero = np.zeros((1, SIDE))
    both = cvxpy.vstack(
        [
            cvxpy.vec(cvxpy.vstack([rows, zero]), order="C"),
            cvxpy.vec(cvxpy.hstack([columns, zero.T]), order="C"),
        ]
    )
    penalty = cvxpy.sum(cvxpy.multiply(strength * w.flatten().numpy(), cvxpy.norm(both, 2, axis=0)))
    misfit = 0.5 * cvxpy.sum_squares(physics.matrix.numpy() @ cvxpy.vec(x, order="C") - y.flatten().numpy())
    exact = cvxpy.Problem(cvxpy.Minimize(misfit + penalty), [x >= 0]).solve(solver=cvxpy.CLARABEL)
    assert ours == pytest.approx(exact, rel=3e-7)


def test_without_weights_it_is_what_scikit_image_denoises() -> None:
    from skimage.restoration import denoise_tv_chambolle

    generator = torch.Generator().manual_seed(3)
    y = phantom() + 0.1 * torch.randn(1, 1, SIDE, SIDE, dtype=torch.float64, generator=generator)
    flat = torch.ones_like(y)
    weight = edge_weights(flat, eta=0.02, p=0.1)
    ours = solve(Problem(LeastSquares(y), Same(), (TV(0.1, weight=weight),)))
    theirs = denoise_tv_chambolle(y[0, 0].numpy(), 0.1, eps=1e-12, max_num_iter=20000)
    assert np.abs(ours[0, 0].numpy() - theirs).max() < 5e-4


@pytest.mark.parametrize("settings", [{"p": 1.0, "psi": "truth"}, {"psi": np.full((SIDE, SIDE), 0.3)}])
def test_with_p_of_one_or_a_constant_estimate_it_is_plain_tv(settings: dict) -> None:
    physics, y = data()
    plain = by_method(physics, y, "tv", strength=0.02)
    weighted = by_method(physics, y, "space_variant_tv", strength=0.02, **settings)
    # Gaps of 1e-9 hold the images to their square root.
    assert float((plain - weighted).norm() / plain.norm()) < 1e-4


def test_weights_of_one_leave_every_step_of_tv_as_it_is() -> None:
    physics, y = data()
    ones = edge_weights(phantom(), eta=0.02, p=1.0)
    images = []
    for weight in (None, ones):
        problem = Problem(LeastSquares(y), physics, (TV(0.02, weight=weight),), (0.0, None))
        images.append(deque(iterate(PDHG(), problem, total=500), maxlen=1)[0].image)
    assert float((images[0] - images[1]).norm() / images[0].norm()) < 1e-8


def test_a_factor_moves_freely_between_weights_and_strength() -> None:
    physics, y = data()
    w = edge_weights(phantom(), eta=0.02, p=0.3)
    one = solve(Problem(LeastSquares(y), physics, (TV(0.02, weight=w),), (0.0, None)), 1e-6)
    other = solve(Problem(LeastSquares(y), physics, (TV(0.005, weight=4 * w),), (0.0, None)), 1e-6)
    # Dual steps follow the weights, so that even the iterates are the same.
    assert float((one - other).norm() / one.norm()) < 1e-6


def test_the_truth_helps_and_more_so_the_smaller_p() -> None:
    physics, y = data()
    errors = [
        float((by_method(physics, y, "space_variant_tv", psi="truth", strength=0.05, p=p) - phantom()).norm())
        for p in (1.0, 0.5, 0.1)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_a_few_passes_from_tv_improve_on_tv() -> None:
    physics, y = data()
    plain = by_method(physics, y, "tv", strength=0.02)
    once = by_method(physics, y, "space_variant_tv", strength=0.02, psi={"name": "tv", "strength": 0.02})
    twice = by_method(
        physics, y, "space_variant_tv", strength=0.02, psi={"name": "tv", "strength": 0.02}, psi_passes=3
    )
    errors = [float((image - phantom()).norm()) for image in (plain, once, twice)]
    assert errors[0] > errors[1] > errors[2]


def test_poisson_counts_take_weights_as_well() -> None:
    counts = ir.PoissonNoise(1.0).sample(40 * phantom() + 2, seed=4)
    measurement = ir.Measurement(counts, noise=ir.PoissonNoise(1.0))
    settings = {"strength": 0.3, "iterations": 3000, "tolerance": 1e-6, "precision": "float64"}
    plain = ir.reconstruct(measurement, "tv", **settings)
    weighted = ir.reconstruct(measurement, "space_variant_tv", psi=phantom(), **settings)
    truth = 40 * phantom() + 2
    assert type(weighted.state.problem.fidelity).__name__ == "KullbackLeibler"
    assert float((weighted.image - truth).norm()) < float((plain.image - truth).norm())
    assert float(weighted.image.min()) >= 0


def test_volumes_have_weights_from_three_differences() -> None:
    z = torch.rand(1, 1, 4, 5, 6, dtype=torch.float64)
    lengths = Gradient(3).A(z).square().sum(2)
    w = edge_weights(z, eta=0.1, p=0.3, value_range=1.0)
    assert torch.allclose(w, (0.1 / (0.1**2 + lengths).sqrt()) ** 0.7)


def test_weights_do_not_depend_on_the_unit_of_grey() -> None:
    z = phantom()
    assert torch.allclose(edge_weights(z), edge_weights(250 * z - 3), rtol=1e-9)
    assert float(edge_weights(z).max()) == 1.0


def test_normalised_weights_have_a_median_of_one() -> None:
    z = torch.rand(3, 1, 9, 9, dtype=torch.float64)
    w = edge_weights(z, normalise=True)
    assert torch.allclose(w.flatten(1).median(dim=1).values, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("given", [{"eta": 0.0}, {"p": 0.0}, {"p": 1.2}])
def test_refusals(given: dict) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(given))} = "):
        edge_weights(phantom(), **given)
