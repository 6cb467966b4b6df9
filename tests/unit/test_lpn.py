"""The method lpn, and its prior in our solvers and in those of deepinv."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.fidelities.least_squares import LeastSquares
from imagereg.methods.registry import method
from imagereg.networks.icnn import ICNN
from imagereg.networks.store import Card, cards, load_network, save_network
from imagereg.physics import blur, gaussian_kernel
from imagereg.priors.learned_proximal import ExplicitPrior, LearnedProximal, LearnedProximalPrior
from imagereg.services.training import clear_checkpoints, make_task, run_training, write_weights
from imagereg.solvers.admm import ADMM
from imagereg.solvers.base import iterate
from imagereg.solvers.fista import FISTA
from imagereg.solvers.hqs import HQS
from imagereg.solvers.problem import Problem
from imagereg.solvers.state import State
from imagereg.training.loop import Schedule

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 40
SHIPPED = ["lpn_natural_05", "lpn_natural_10", "lpn_ct_05"]


def small() -> ICNN:
    torch.manual_seed(0)
    return ICNN(widths=(6, 8), strides=(1, 2), sharpness=20.0, convexity=0.05).requires_grad_(False)


def phantom(side: int = SIDE) -> torch.Tensor:
    """A disc with a hole and a bright dot, in [0, 1]."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    image = 0.5 * (x**2 + y**2 < 0.75).float()
    image[(x + 0.3) ** 2 + (y - 0.2) ** 2 < 0.08] = 0.1
    image[(x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.05] = 0.9
    return image[None, None]


def blurred(sigma: float = 0.02) -> ir.Measurement:
    physics, noise = blur(gaussian_kernel(1.0)), ir.GaussianNoise(sigma)
    data = noise.sample(physics.A(phantom()), seed=0)
    return ir.Measurement(data, physics=physics, noise=noise, truth=phantom())


def scan(items: int = 1) -> ir.Measurement:
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 24, endpoint=False), columns=60, pixel=1.0)
    physics, noise = ir.tomography(geometry, ir.Volume((SIDE, SIDE))), ir.RelativeNoise(0.02)
    truth = torch.cat([(1 + k) * phantom() for k in range(items)])
    return ir.Measurement(noise.sample(physics.A(truth), seed=0), physics=physics, noise=noise, truth=truth)


def last(states: Iterator[State]) -> State:
    return deque(states, maxlen=1).pop()


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float(-10 * torch.log10((image - truth).square().mean() / truth.max() ** 2))


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file of weights of the small network."""
    path = tmp_path / "small.safetensors"
    save_network(path, small(), Card("small", "lpn", "icnn", {}, data="nothing", metrics={"sigma": 0.1}))
    return str(path)


def stationarity(problem: Problem, prior: LearnedProximalPrior, x: torch.Tensor, rho: float) -> float:
    """||A^T (A x - y) + rho (prox^-1(x) - x)|| / ||A^T y||, the slope of f(A x) + rho phi."""
    found = prior.value(x, tolerance=1e-6, iterations=500)
    assert float(found.residual.max()) < 1e-4
    physics, data = problem.physics, problem.fidelity.data
    slope = physics.A_adjoint(physics.A(x) - data) + rho * (found.point - x)
    return float(slope.norm() / physics.A_adjoint(data).norm())


def alike() -> ICNN:
    """The small network with weights that are drawn alike on every processor, which torch's are not."""
    network, generator = small(), np.random.default_rng(4)
    for weight in network.parameters():
        drawn = torch.from_numpy(generator.uniform(-1, 1, tuple(weight.shape))).to(weight)
        largest = 0.4 * weight.abs().max()
        weight.copy_(largest * (drawn.abs() if float(weight.min()) >= 0 else drawn))
    return network


def test_admm_and_pgd_find_critical_points() -> None:
    measurement = blurred()
    prior = LearnedProximalPrior(LearnedProximal(alike(), 0.1))
    problem = Problem(LeastSquares(measurement.data), measurement.physics, (prior,))
    norm = problem.norm**2
    penalty = 1.5 / _curvature(problem)
    solver = ADMM(relaxation=1.0, adapt=0, penalty=penalty, inner=30, tolerance=1e-4)
    state = last(iterate(solver, problem, total=150))
    # Both converge linearly: 1.5 phi is strongly convex for this network. What is left is rounding, some 1e-7
    # of the data, enlarged by the inverse of a network whose smallest slope is 0.05.
    assert stationarity(problem, prior, state.memory["copies"][0], 1.5) < 1e-5
    state = last(iterate(FISTA(momentum=False, restart=False), problem, total=250))
    assert stationarity(problem, prior, state.image, norm) < 1e-5
    state = last(iterate(HQS(first=0.1, steps=5), problem, total=5))
    assert bool(torch.isfinite(state.image).all())


def _curvature(problem: Problem) -> torch.Tensor:
    from imagereg.solvers.linear import mean_curvature

    return mean_curvature(problem)


def test_the_prior_works_in_deepinv() -> None:
    import deepinv

    measurement = blurred()
    denoiser = LearnedProximal(small(), 0.1)
    prior = LearnedProximalPrior(denoiser)
    problem = Problem(LeastSquares(measurement.data), measurement.physics, (prior,))
    step = 0.9 / problem.norm**2
    images = []
    for given in (ExplicitPrior(denoiser, iterations=1000), deepinv.optim.PnP(denoiser)):
        solver = deepinv.optim.optim_builder(
            "PGD",
            data_fidelity=deepinv.optim.L2(),
            prior=given,
            params_algo={"stepsize": step, "g_param": 0.1, "lambda": 1.0},
            max_iter=80,
            early_stop=False,
        )
        with torch.no_grad():
            images.append(solver(measurement.data, measurement.physics))
    assert torch.equal(images[0], images[1])
    assert stationarity(problem, prior, images[0], 1 / step) < 1e-2


@pytest.mark.parametrize("solver", ["admm", "pgd"])
def test_the_method_says_whether_it_converges(weights: str, solver: str) -> None:
    measurement = blurred()
    state = last(
        ir.iterate(measurement, "lpn", weights=weights, solver=solver, scale=1.0, iterations=20, strength=2)
    )
    notes = " ".join(state.notes)
    assert "noise of 0.02 in the data" in notes and "local potentials" in notes
    if solver == "admm":
        # (0.02 / 0.1)^2 times the strength is below ||A||^2 = 1.
        assert "rho = 0.08" in notes and "only `change`" in notes
        assert {"change", "prior", "objective"} <= set(state.values)
    else:
        assert "PGD converges to a critical point" in notes
        with pytest.raises(UsageError, match="above L"):
            last(ir.iterate(measurement, "lpn", weights=weights, solver="pgd", scale=1.0, strength=50))


def test_the_proven_way_settles_at_a_critical_point(weights: str) -> None:
    measurement = blurred()
    state = last(
        ir.iterate(measurement, "lpn", weights=weights, proven=True, scale=1.0, iterations=400, strength=5)
    )
    assert "converges to a critical point" in " ".join(state.notes)
    assert state.values["change"] < 1e-4
    problem = state.problem
    assert problem is not None
    prior = problem.priors[0]
    assert isinstance(prior, LearnedProximalPrior) and prior.proximal.relaxation < 0.25
    rho = float(state.memory["penalties"][0])
    assert rho > problem.norm**2
    assert stationarity(problem, prior, state.memory["copies"][0], rho) < 2e-3
    # The value without inversion is the one by inversion.
    found = prior.value(state.memory["copies"][0], tolerance=1e-6)
    assert state.values["prior"] == pytest.approx(rho * float(found.value), rel=1e-3)


def test_slices_do_not_depend_on_their_company(weights: str) -> None:
    both = scan(2)
    one = ir.Measurement(both.data[1:], physics=both.physics, noise=both.noise)
    together = last(ir.iterate(both, "lpn", weights=weights, iterations=4)).image
    alone = last(ir.iterate(one, "lpn", weights=weights, iterations=4)).image
    assert torch.allclose(together[1:], alone, rtol=1e-3, atol=1e-3 * float(alone.max()))


def test_unknown_noise_is_said(weights: str) -> None:
    measurement = scan()
    bare = ir.Measurement(torch.round(measurement.data, decimals=-2), physics=measurement.physics)
    state = last(ir.iterate(bare, "lpn", weights=weights, iterations=2))
    assert any("not known" in note for note in state.notes)


def test_weights_of_other_methods_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_network(path, small(), Card("other", "learned_fbp", "icnn", {}))
    with pytest.raises(UsageError, match="are for learned_fbp"):
        last(ir.iterate(blurred(), "lpn", weights=str(path)))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_convex_small_and_denoise(name: str) -> None:
    network, card = load_network(name, method="lpn")
    assert isinstance(network, ICNN)
    for weight in [*network.readout, *network.square, *(layer.weight for layer in network.along)]:
        assert bool((weight >= 0).all())
    sigma = card.metrics["sigma"]
    assert card.data and card.licence and card.command
    noise = sigma * torch.randn(1, 1, 70, 65, generator=torch.Generator().manual_seed(0))
    truth = torch.nn.functional.interpolate(phantom(), (70, 65), mode="bilinear")
    clean = network(truth + noise)
    assert psnr(clean, truth) > psnr(truth + noise, truth) + 4
    # The prior of the denoised image is known to a small residual, and noise raises it.
    denoiser = LearnedProximal(network, sigma)
    worse = network(truth + 2 * noise)
    found = denoiser.prior(torch.cat((clean, worse)), tolerance=1e-3, iterations=60)
    assert float(found.residual.max()) < 1e-2
    assert float(found.value[0]) < float(found.value[1])


def test_shipped_weights_regularise_scans_and_blur() -> None:
    measurement = scan()
    assert psnr(last(ir.iterate(measurement, "lpn", iterations=30)).image, measurement.truth) > 24
    measurement = blurred()
    before = psnr(measurement.data, measurement.truth)
    assert psnr(last(ir.iterate(measurement, "lpn")).image, measurement.truth) > before + 1.3


def test_weights_are_chosen_by_what_the_data_are() -> None:
    y = phantom() + 0.1 * torch.randn(phantom().shape, generator=torch.Generator().manual_seed(0))
    noisy = ir.Measurement(y, noise=ir.GaussianNoise(0.1), truth=phantom())
    state = last(ir.iterate(noisy, "lpn", iterations=20))
    assert any("lpn_natural_10" in note for note in state.notes)
    assert psnr(state.image, phantom()) > psnr(y, phantom()) + 4
    assert any("lpn_ct_05" in note for note in last(ir.iterate(scan(), "lpn", iterations=1)).notes)
    assert any("lpn_ct_05" in note for note in last(ir.iterate(blurred(), "lpn", iterations=1)).notes)
    assert set(SHIPPED) <= set(cards())
    assert method("lpn").main == "strength"


def test_a_prior_of_ones_own_pictures_is_trained_and_used(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(4):
        ramp = np.linspace(0, 1, 32)[:, None] * np.linspace(1, 0.2 * number, 32)
        np.save(folder / f"{number}.npy", ramp.astype("f4"))
    out = tmp_path / "mine.safetensors"
    settings = {"sigma": 0.08, "patch": 16}
    task = make_task("lpn", folder, settings=settings)
    schedule = Schedule(steps=10, batch=2, rate=5e-3, optimiser="adam")
    *_, last = run_training(task, schedule, out)
    assert last.finished == "10 steps"
    card = write_weights("lpn", last, out, data="own", licence="", command="", seed=0, task=task)
    assert (card.method, card.metrics["sigma"]) == ("lpn", 0.08)
    assert clear_checkpoints(out) == "mine.stages"
    assert not list((tmp_path / "mine.stages").glob("*.safetensors"))
    noise = ir.GaussianNoise(0.08)
    noisy = noise.sample(torch.full((1, 1, 32, 32), 0.5), seed=0)
    found = ir.reconstruct(ir.Measurement(noisy, noise=noise), "lpn", weights=str(out), iterations=2)
    assert torch.isfinite(found.image).all()
    with pytest.raises(UsageError, match="trained in stages"):
        run_training(task, Schedule(steps=10), out)
