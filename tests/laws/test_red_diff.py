"""RED-diff and its kin against priors that are known exactly."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import deepinv
import pytest
import torch
from exact_denoisers import Mixture, empirical, gaussian

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.methods.registry import method
from imagereg.physics import blur, gaussian_kernel, inpainting
from imagereg.physics.nonlinear import PhaseRetrieval, Saturation
from imagereg.priors.denoiser import DenoiserPrior
from imagereg.priors.tv import TV
from imagereg.solvers import ddrm as ddrm_room
from imagereg.solvers.base import iterate
from imagereg.solvers.ddrm import DDRM
from imagereg.solvers.dps import DPS
from imagereg.solvers.ensemble import Ensemble
from imagereg.solvers.noise_levels import levels
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.red_diff import RedDiff, weight
from imagereg.solvers.state import State

NAMES = ["red_diff", "dps", "diffpir", "ddrm"]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def final(states: Any) -> State:
    return deque(states, maxlen=1)[0]


def linear(matrix: torch.Tensor) -> Any:
    rows = matrix.to(torch.float64)
    side = int(rows.shape[1] ** 0.5)
    return deepinv.physics.LinearPhysics(
        A=lambda x, **_: (x.flatten(1) @ rows.mT)[:, None, None],
        A_adjoint=lambda y, **_: (y.flatten(1) @ rows).reshape(-1, 1, side, side),
    )


def posed(matrix: torch.Tensor, y: torch.Tensor, denoiser: Any) -> Problem:
    return Problem(LeastSquares(y[:, None, None]), linear(matrix), (DenoiserPrior(denoiser, 0.0),))


@pytest.mark.parametrize("weighting", ["linear", "sqrt", "const"])
def test_with_gaussian_images_it_gathers_at_the_known_point(weighting: Any) -> None:
    n, m, strength = 9, 12, 0.7
    root = 0.3 * normal(0, n, n)
    mean, covariance = 0.5 + 0.2 * normal(1, n), root @ root.mT + 0.02 * torch.eye(n, dtype=torch.float64)
    matrix, y = normal(2, m, n), normal(3, 1, m)
    c = float(matrix.square().sum() / n)
    several = levels(1500, 2, order="random", least=0.05, most=0.3)
    unit = torch.eye(n, dtype=torch.float64)
    pull = torch.stack(
        [
            weight(2 * s, weighting) * s**2 * torch.linalg.inv(covariance + s**2 * unit)
            for s in several.flatten().tolist()
        ]
    ).mean(0)
    wanted = torch.linalg.solve(
        matrix.mT @ matrix / c + strength * pull, matrix.mT @ y[0] / c + strength * pull @ mean
    )
    solver = RedDiff(several, c, strength, weighting, rate=0.02, last=0.1, betas=(0.9, 0.999), tail=0.6)
    problem = posed(matrix, y, gaussian(mean, covariance))
    found = final(iterate(solver, problem, total=1500)).image.flatten()
    without = torch.linalg.lstsq(matrix, y[0]).solution
    assert min(float((end - wanted).norm()) for end in (without, mean)) > 1
    assert float((found - wanted).norm()) < 0.05


def test_without_a_prior_it_is_least_squares() -> None:
    matrix, y = normal(4, 12, 9), normal(5, 2, 12)
    solver = RedDiff(levels(1500), 1.0, strength=0.0, rate=0.05, last=0.0, tail=0.0)
    found = final(iterate(solver, posed(matrix, y, lambda x, s: x / 0), total=1500)).image
    wanted = torch.linalg.lstsq(matrix, y.mT).solution.mT.reshape(found.shape)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def mixture() -> Mixture:
    apart = torch.stack([torch.full((4,), 0.2), torch.tensor([0.9, 0.1, 0.9, 0.1])]).double()
    return Mixture(
        torch.tensor([0.7, 0.3], dtype=torch.float64),
        apart,
        0.001 * torch.eye(4, dtype=torch.float64).expand(2, 4, 4),
    )


def test_data_alone_or_prior_alone_decide_where_the_other_says_nothing() -> None:
    unit = torch.eye(4, dtype=torch.float64)
    y = normal(6, 1, 4)
    loud = RedDiff(levels(800), 1e-6, rate=0.05, last=0.0)  # data a million times as strong as the prior
    torch.testing.assert_close(
        final(iterate(loud, posed(unit, y, mixture()), total=800)).image.flatten(), y[0], rtol=0, atol=1e-3
    )
    silent = posed(0 * unit, 0 * y, mixture())
    quiet = RedDiff(levels(800), 1.0, rate=0.05)
    found = final(iterate(quiet, silent, total=800)).image.flatten()
    assert float((found - mixture().means).norm(dim=1).min()) < 0.1


PICTURES = torch.rand(40, 1, 12, 12, generator=torch.Generator().manual_seed(0))
MASK = torch.rand(12, 12, generator=torch.Generator().manual_seed(1)) > 0.6


def masked(factor: float = 1.0, noise: float = 0.0, items: tuple[int, ...] = (7,)) -> ir.Measurement:
    truth = factor * PICTURES[list(items)]
    physics = inpainting(MASK)
    y = physics.A(truth + factor * noise * normal(8, *truth.shape).float())
    known = ir.GaussianNoise(factor * noise) if noise else None
    return ir.Measurement(y, physics=physics, truth=truth, noise=known, quantity="image")


@pytest.mark.parametrize("name", ["red_diff", "diffpir", "ddrm"])
def test_the_picture_that_fits_is_found_among_those_known(name: str) -> None:
    measurement = masked(items=(7, 21))
    state = final(ir.iterate(measurement, method(name, scale=1.0).using(empirical(PICTURES))))
    assert state.finished
    assert float((state.image - measurement.truth).abs().max()) < 0.05
    start = float((measurement.data - measurement.truth).abs().mean())
    assert start > 0.2


def test_sampling_draws_what_the_data_allow() -> None:
    # One Gaussian: the mean of many draws given half of the pixels is the conditional mean.
    mean = torch.full((16,), 0.5, dtype=torch.float64)
    place = torch.arange(16.0)
    covariance = 0.04 * torch.exp(-(place[:, None] - place).abs() / 6).double()
    prior = gaussian(mean, covariance)
    x = torch.distributions.MultivariateNormal(mean, covariance).rsample
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        truth = x().reshape(1, 1, 4, 4)
    mask = torch.ones(4, 4)
    mask.view(-1)[1::2] = 0
    physics = inpainting(mask)
    measurement = ir.Measurement(
        physics.A(truth).float(), physics=physics, noise=ir.GaussianNoise(0.02), quantity="image"
    )
    seen = mask.flatten() > 0
    gain = covariance[:, seen] @ torch.linalg.inv(
        covariance[seen][:, seen] + 0.02**2 * torch.eye(8, dtype=torch.float64)
    )
    wanted = (mean + gain @ (truth.flatten()[seen] - mean[seen])).reshape(1, 1, 4, 4)
    for name in NAMES:
        state = final(
            ir.iterate(
                measurement,
                method(name, scale=1.0, iterations=60, runs=2 if name == "red_diff" else 24).using(prior),
            )
        )
        error = float((state.image - wanted).square().mean().sqrt())
        assert error < 0.4 * float((mean.reshape(1, 1, 4, 4) - wanted).square().mean().sqrt()) + 0.02, name


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_of_the_data_changes_nothing(name: str) -> None:
    chosen = method(name, iterations=20).using(empirical(PICTURES))
    one = final(ir.iterate(masked(noise=0.02), chosen)).image
    other = final(ir.iterate(masked(factor=1000.0, noise=0.02), chosen)).image
    torch.testing.assert_close(other / 1000, one, rtol=1e-3, atol=1e-3)


def test_the_balance_depends_on_neither_the_number_of_data_nor_their_scale() -> None:
    matrix, y = normal(9, 6, 9), normal(10, 1, 6)
    images = []
    for factor, copies in ((1.0, 1), (7.0, 1), (1.0, 3)):
        repeated = factor * matrix.repeat(copies, 1)
        problem = posed(
            repeated, factor * y.repeat(1, copies), gaussian(torch.zeros(9).double(), torch.eye(9).double())
        )
        c = float(repeated.square().sum() / 9)
        images.append(final(iterate(RedDiff(levels(50), c), problem, total=50)).image)
    torch.testing.assert_close(images[1], images[0])
    torch.testing.assert_close(images[2], images[0])


@pytest.mark.parametrize("name", NAMES)
def test_runs_tell_their_spread_and_are_those_of_their_seeds(name: str) -> None:
    measurement = masked(noise=0.05, items=(7, 21))
    chosen = method(name, iterations=12, scale=1.0, seed=5).using(empirical(PICTURES + 0.0))
    state = final(ir.iterate(measurement, chosen.model_copy(update={"runs": 3})))
    spread = state.outcome.uncertainty
    assert spread.samples.shape == (3, 2, 1, 12, 12)
    assert torch.equal(spread.mean, spread.samples.mean(0))
    assert torch.equal(spread.mean, state.image)
    assert torch.equal(spread.std, spread.samples.std(0))
    assert state.residual is not None
    second = final(ir.iterate(measurement, chosen.model_copy(update={"seed": 6})))
    torch.testing.assert_close(second.image, spread.samples[1])
    assert second.outcome.uncertainty is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("runs", [1, 2])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(name: str, runs: int) -> None:
    chosen = method(name, iterations=10, scale=1.0, runs=runs).using(empirical(PICTURES))
    states = list(chosen.iterate(masked(noise=0.05).ready()))
    assert [state.iteration for state in states] == list(range(1, 11))
    middle = states[5]
    again = list(iterate(middle.solver, middle.problem, total=10, resume=middle))
    assert [state.iteration for state in again] == [7, 8, 9, 10]
    assert torch.equal(again[-1].image, states[-1].image)


@pytest.mark.parametrize("name", ["red_diff", "diffpir", "ddrm"])
def test_an_item_comes_out_the_same_whatever_its_company(name: str) -> None:
    chosen = method(name, iterations=10, scale=1.0).using(empirical(PICTURES))
    together = final(chosen.iterate(masked(items=(3, 9)).ready())).image
    alone = final(chosen.iterate(masked(items=(9,)).ready())).image
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)


def test_the_coefficients_go_as_in_deepinv(monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = masked(noise=0.05).ready()
    several = levels(15)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr(ddrm_room, "white", lambda like, *_: torch.zeros_like(like))
    measurement.physics.noise_model = deepinv.physics.GaussianNoise(0.05)
    theirs = deepinv.sampling.DDRM(empirical(PICTURES), sigmas=several.flatten().tolist())
    wanted = theirs(measurement.data, measurement.physics)
    # Their start is black where nothing is seen, and ours grey: the first step is theirs.
    problem = Problem(
        LeastSquares(measurement.data), measurement.physics, (DenoiserPrior(empirical(PICTURES), 0.0),)
    )
    solver = DDRM(several, 0.05)
    memory = solver.init(problem, None)
    memory["coefficients"] = measurement.data.clone()
    for _ in range(15):
        memory = solver.step(problem, memory)
    torch.testing.assert_close(memory["image"], wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("guidance", ["annealed", "norm"])
def test_the_reverse_diffusion_goes_as_in_deepinv(monkeypatch: pytest.MonkeyPatch, guidance: Any) -> None:
    from deepinv.sampling.sde_solver import BaseSDESolver

    monkeypatch.setattr(BaseSDESolver, "randn_like", lambda self, x, seed=None: torch.zeros_like(x))
    monkeypatch.setattr("imagereg.solvers.dps.draw", lambda like, generator: torch.zeros_like(like))
    root = 0.2 * normal(13, 4, 4)
    prior = gaussian(torch.full((4,), 0.5).double(), root @ root.mT)
    matrix, y = normal(14, 3, 4), normal(15, 2, 3)
    problem = posed(matrix, y, prior)
    solver = DPS(12, 1.0, strength=0.3, guidance=guidance, noise=0.1)
    start = solver.init(problem, torch.zeros(2, 1, 2, 2, dtype=torch.float64))
    found = final(iterate(solver, problem, total=12, start=start["image"])).image
    weight = 0.3 * (2.0 if guidance == "norm" else 1.0)  # the root of four pixels
    theirs = deepinv.sampling.DPS(
        lambda x, sigma, *_, **__: prior(x.double(), sigma),
        num_steps=13,
        weight=weight,
        guidance=guidance,
    )
    physics = problem.physics
    physics.noise_model = deepinv.physics.GaussianNoise(0.1)
    wanted = theirs(problem.fidelity.data, physics, x_init=start["u"])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


NONLINEAR = {
    "clipping": lambda: Saturation(),
    "overexposed blur": lambda: Saturation(blur(gaussian_kernel(0.6)), gain=1.5, offset=0.0),
    "phases": lambda: PhaseRetrieval((12, 12)),
}


@pytest.mark.parametrize("kind", NONLINEAR)
def test_derivatives_of_nonlinear_physics_are_those_of_autograd(kind: str) -> None:
    physics = NONLINEAR[kind]()
    x = PICTURES[:2].double().requires_grad_()
    y = physics.A(x)
    v = normal(11, *y.shape)
    (wanted,) = torch.autograd.grad((y * v).sum(), x)
    torch.testing.assert_close(physics.A_vjp(x.detach(), v), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["red_diff"])
@pytest.mark.parametrize("kind", NONLINEAR)
def test_nonlinear_physics_are_inverted(name: str, kind: str) -> None:
    physics, truth = NONLINEAR[kind](), PICTURES[7:8]
    measurement = ir.Measurement(physics.A(truth), physics=physics, truth=truth, quantity="image")
    chosen = method(name, scale=1.0).using(empirical(PICTURES))
    state = final(ir.iterate(measurement, chosen))
    start = physics.A_dagger(measurement.data)
    away = float((start - truth).norm())
    assert float((state.image - truth).norm()) < max(0.2 * away, 0.01 * float(truth.norm()))


def test_levels_are_spread_over_time_and_ordered() -> None:
    several = levels(10, 3, least=0.01, most=1.0)
    assert several.shape == (10, 3)
    flat = several.flatten()
    assert bool((flat.diff() < 0).all())
    assert 0.01 < float(flat.min()) < float(flat.max()) < 1.0
    torch.testing.assert_close(levels(10, 3, least=0.01, most=1.0, order="ascending").flatten(), flat.flip(0))
    mixed = levels(10, 3, least=0.01, most=1.0, order="random").flatten()
    torch.testing.assert_close(mixed.sort(descending=True).values, flat)
    assert not torch.equal(mixed, flat)
    with pytest.raises(UsageError, match="descending"):
        levels(10, order="sideways")  # type: ignore[arg-type]


def test_weights_are_the_published_ones() -> None:
    s = 0.3
    named = {
        "linear": s,
        "sqrt": s**0.5,
        "square": s**2,
        "power2over3": s ** (2 / 3),
        "const": 1.0,
        "log": 0.26236426446749106,
        "trunc_linear": s,
    }
    for name, value in named.items():
        assert weight(s, name) * s == pytest.approx(value)  # type: ignore[arg-type]
    assert weight(4.0, "trunc_linear") * 4 == pytest.approx(1.0)


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    y = normal(12, 1, 4)
    unit = torch.eye(4, dtype=torch.float64)
    problem = posed(unit, y, mixture())
    with pytest.raises(Refusal, match="RedDiff takes one DenoiserPrior and was given TV"):
        RedDiff(levels(5)).check(replace(problem, priors=(TV(0.1),)))
    with pytest.raises(Refusal, match="no singular vectors of LinearPhysics"):
        DDRM(levels(5), 0.1).check(problem)
    with pytest.raises(UsageError, match="two at least"):
        Ensemble((RedDiff(levels(5)),))
    with pytest.raises(UsageError, match="levels for 5 steps"):
        list(iterate(RedDiff(levels(5)), problem, total=6))
    with pytest.raises(UsageError, match="gain above 0"):
        Saturation(gain=0.0)
    with pytest.raises(UsageError, match="is wanted"):
        PhaseRetrieval((4, 4)).A(torch.zeros(1, 1, 5, 5))
