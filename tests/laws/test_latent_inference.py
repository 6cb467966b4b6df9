"""Variational Bayes in latents against the closed forms of a linear decoder."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from deepinv.physics import LinearPhysics

from imagereg.fidelities.least_squares import LeastSquares
from imagereg.priors.latent import LatentPrior, Latents
from imagereg.solvers.base import iterate
from imagereg.solvers.data_misfit import Misfit
from imagereg.solvers.latent import LatentInference
from imagereg.solvers.problem import Problem, Refusal
from imagereg.solvers.state import State

N, M, LATENTS = 6, 5, 4


class Linear(LatentPrior):
    """x = W z as an image (1, 1, n), z ~ N(0, 1), a second latent h ~ N(0, 1) that is on its own."""

    def __init__(self, W: torch.Tensor) -> None:
        self.W = W

    def encode(self, image: torch.Tensor) -> Latents:
        z = torch.zeros(len(image), self.W.shape[1], dtype=image.dtype)
        return z, torch.ones(len(image), 2, dtype=image.dtype)

    def complete(self, z: torch.Tensor) -> Latents:
        return z, torch.zeros(len(z), 2, dtype=z.dtype)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return (z @ self.W.T)[:, None, None]

    def energy(self, latents: Latents) -> torch.Tensor:
        return sum(part.square().sum(1) / 2 for part in latents)


def matrix(A: torch.Tensor) -> LinearPhysics:
    return LinearPhysics(A=lambda x, **_: x @ A.T, A_adjoint=lambda y, **_: y @ A)


class Toy:
    """Two items y = A x + noise, x = W z (+ gamma g)."""

    def __init__(self, gamma: float | None) -> None:
        generator = torch.Generator().manual_seed(3)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        self.A, self.W = draw(M, N) / 2, draw(N, LATENTS) / 2
        self.sigma = torch.tensor([0.3, 0.6], dtype=torch.float64)
        self.y = draw(2, 1, 1, M)
        self.gamma = None if gamma is None else torch.full((2, 1, 1, 1), gamma, dtype=torch.float64)
        self.problem = Problem(LeastSquares(self.y), matrix(self.A), (Linear(self.W),))
        self.misfit = Misfit(self.sigma**-2, self.gamma, inner=50, tolerance=1e-8)

    def noise(self, item: int) -> torch.Tensor:
        """Covariance of y given z."""
        S = self.sigma[item] ** 2 * torch.eye(M, dtype=torch.float64)
        return S if self.gamma is None else S + float(self.gamma[0]) ** 2 * self.A @ self.A.T

    def exact(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean of z given y, and its precision."""
        AW, inverse = self.A @ self.W, torch.linalg.inv(self.noise(item))
        precision = torch.eye(LATENTS, dtype=torch.float64) + AW.T @ inverse @ AW
        return torch.linalg.solve(precision, AW.T @ inverse @ self.y[item, 0, 0]), precision

    def run(self, solver: LatentInference, **more: object) -> State:
        start = torch.zeros(2, 1, 1, N, dtype=torch.float64)
        return deque(iterate(solver, self.problem, total=solver.steps, start=start, **more), maxlen=1)[0]


@pytest.mark.parametrize("gamma", [None, 0.4])
def test_uniform_posteriors_have_the_exact_mean_and_the_widths_of_mean_field(gamma: float | None) -> None:
    toy = Toy(gamma)
    memory = toy.run(LatentInference(toy.misfit, steps=1500, rate=0.05)).memory
    for item in range(2):
        mean, precision = toy.exact(item)
        deviation = precision.diag().rsqrt()
        assert float(((memory["means"][0][item] - mean) / deviation).abs().max()) < 0.2
        variance = memory["widths"][0][item].exp().square() / 12
        ratio = variance * precision.diag()
        assert float(ratio.min()) > 0.85 and float(ratio.max()) < 1.15
        # The latents that no datum sees keep their prior: mean 0, variance 1.
        assert float(memory["means"][1][item].abs().max()) < 0.1
        assert float((memory["widths"][1][item].exp().square() / 12 - 1).abs().max()) < 0.2


@pytest.mark.parametrize("strength", [0.25, 4.0])
def test_strength_tempers_the_prior(strength: float) -> None:
    toy = Toy(None)
    memory = toy.run(LatentInference(toy.misfit, strength=strength, inference="dirac", steps=800)).memory
    for item in range(2):
        AW = toy.A @ toy.W / toy.sigma[item]
        precision = strength * torch.eye(LATENTS, dtype=torch.float64) + AW.T @ AW
        mode = torch.linalg.solve(precision, AW.T @ toy.y[item, 0, 0] / toy.sigma[item])
        assert torch.allclose(memory["means"][0][item], mode, atol=2e-3)


def test_samples_of_xz_have_the_moments_of_q_times_the_exact_conditional() -> None:
    toy = Toy(0.4)
    solver = LatentInference(toy.misfit, steps=60)
    memory = toy.run(solver).memory
    drawn = torch.stack(list(solver.samples(toy.problem, memory, 1500)))[:, :, 0, 0]
    for item in range(2):
        mean = memory["means"][0][item]
        prior = torch.eye(N, dtype=torch.float64) / 0.4**2
        inside = torch.linalg.inv(prior + toy.A.T @ toy.A / toy.sigma[item] ** 2)
        gain = inside @ prior @ toy.W
        wanted = gain @ mean + inside @ (toy.A.T @ toy.y[item, 0, 0]) / toy.sigma[item] ** 2
        assert float((drawn[:, item].mean(0) - wanted).abs().max()) < 0.05
        q = memory["widths"][0][item].exp().square() / 12
        variance = inside.diag() + gain.square() @ q
        assert torch.allclose(drawn[:, item].var(0), variance, rtol=0.16)
        estimate = solver.estimate(toy.problem, memory)[item, 0, 0]
        assert float((estimate - wanted).abs().max()) < 1e-3


def test_misfit_of_a_noisy_decoder_is_the_marginal_likelihood() -> None:
    toy = Toy(0.4)
    image = torch.randn(2, 1, 1, N, dtype=torch.float64, requires_grad=True)
    value, _ = toy.misfit(toy.problem, image)
    for item in range(2):
        r = toy.y[item, 0, 0] - toy.A @ image[item, 0, 0]
        exact = 0.5 * r @ torch.linalg.solve(toy.noise(item), r)
        assert abs(float(value[item] - exact)) < 1e-9 * float(exact)
    (slope,) = torch.autograd.grad(value.sum(), image)
    direction = torch.randn(image.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ahead, behind = (
        toy.misfit(toy.problem, (image + step * direction).detach())[0].sum() for step in (1e-5, -1e-5)
    )
    assert abs(float((ahead - behind) / 2e-5 - (slope * direction).sum())) < 1e-5


@pytest.mark.parametrize("inference", ["variational", "map", "dirac"])
def test_an_item_does_not_depend_on_its_company(inference: str) -> None:
    toy = Toy(0.4)
    whole = toy.run(LatentInference(toy.misfit, inference=inference, steps=30))
    for item in range(2):
        problem = Problem(LeastSquares(toy.y[item : item + 1]), toy.problem.physics, toy.problem.priors)
        misfit = Misfit(toy.sigma[item : item + 1] ** -2, toy.gamma[item : item + 1], 50, 1e-8)
        solver = LatentInference(misfit, inference=inference, steps=30)
        start = torch.zeros(1, 1, 1, N, dtype=torch.float64)
        one = deque(iterate(solver, problem, total=30, start=start), maxlen=1)[0]
        assert torch.allclose(one.image[0], whole.image[item], atol=1e-10)


def test_a_run_that_was_stopped_goes_on_as_an_unbroken_one() -> None:
    toy = Toy(0.4)
    solver = LatentInference(toy.misfit, steps=24)
    whole = toy.run(solver)
    start = torch.zeros(2, 1, 1, N, dtype=torch.float64)
    half = deque(iterate(solver, toy.problem, total=11, start=start), maxlen=1)[0]
    resumed = toy.run(solver, resume=half)
    assert torch.equal(resumed.image, whole.image) and resumed.iteration == 24


def test_noise_of_the_decoder_is_fitted_to_each_item() -> None:
    """Where the latents explain nothing, the variance of y is sigma^2 + gamma^2."""
    generator = torch.Generator().manual_seed(1)
    true = torch.tensor([0.3, 0.8], dtype=torch.float64).reshape(2, 1, 1, 1)
    draw = lambda: torch.randn(2, 1, 1, 20_000, generator=generator, dtype=torch.float64)  # noqa: E731
    data = true * draw() + 0.4 * draw()
    prior = Linear(torch.zeros(20_000, 1, dtype=torch.float64))
    identity = LinearPhysics(A=lambda x, **_: x, A_adjoint=lambda y, **_: y)
    problem = Problem(LeastSquares(data), identity, (prior,))
    misfit = Misfit(torch.full((2,), 0.4**-2, dtype=torch.float64), torch.full_like(true, 0.5))
    solver = LatentInference(misfit, inference="dirac", steps=200, adapt=True)
    last = deque(iterate(solver, problem, total=200, start=torch.zeros_like(data)), maxlen=1)[0]
    wanted = (data.square().mean(-1, keepdim=True) - 0.4**2).sqrt()
    assert torch.allclose(last.memory["gamma"], wanted, rtol=0.08)
    kept = LatentInference(misfit, inference="dirac", steps=20)
    still = deque(iterate(kept, problem, total=20, start=torch.zeros_like(data)), maxlen=1)[0]
    assert torch.equal(still.memory["gamma"], misfit.gamma)


def test_refusals_name_what_would_do() -> None:
    toy = Toy(0.4)
    with pytest.raises(Refusal, match="one LatentPrior"):
        LatentInference(toy.misfit).check(Problem(toy.problem.fidelity, toy.problem.physics))
    with pytest.raises(Refusal, match="bounds"):
        bounded = Problem(toy.problem.fidelity, toy.problem.physics, toy.problem.priors, (0.0, None))
        LatentInference(toy.misfit).check(bounded)
