"""Proximal matching on one number: the Laplace distribution, whose every answer is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.icnn import ICNN
from imagereg.networks.inversion import prior_value
from imagereg.networks.store import Card, load_network, save_network
from imagereg.training.learned_proximal import (
    LearnedProximal,
    Stage,
    proximal_matching,
    stages,
    train_learned_proximal,
)
from imagereg.training.loop import Schedule

pytestmark = pytest.mark.usefixtures("one_thread")

UNIT = 0.1
"""The Laplace distribution of scale 1 and noise of standard deviation 1, in the grey values of an image."""

LAST = 0.1
"""gamma of the last stage, in the same units."""


def posterior(v: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Quantiles of x given v = x + n, p(x) = exp(-|x|) / 2, n ~ N(0, 1): two truncated Gaussians."""
    cumulative, inverse = torch.special.ndtr, torch.special.ndtri
    above, below = (0.5 - v).exp() * cumulative(v - 1), (0.5 + v).exp() * cumulative(-v - 1)
    split = below / (above + below)
    negative = share < split
    centre = torch.where(negative, -v - 1, v - 1)
    part = torch.where(negative, share / split, (1 - share) / (1 - split)).clamp(1e-12, 1)
    size = centre - inverse(part * cumulative(centre))
    return torch.where(negative, -size, size)


class Laplace(LearnedProximal):
    """Values v evenly spread, each with even quantiles of its posterior, so that little is left to chance."""

    def __init__(self, network: ICNN) -> None:
        self.network, self.gamma = network, 0.0

    def batch(self, generator: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """v (1, 1, 1, 8 size) and x (8 size, 256)."""
        count, quantiles = 8 * size, 256
        jitter = torch.rand(count, generator=generator, dtype=torch.float64)
        v = (torch.arange(count) + jitter) / count * 8 - 4
        share = torch.rand(count, quantiles, generator=generator)
        x = posterior(v[:, None].float(), (torch.arange(quantiles) + share) / quantiles)
        return UNIT * v.float().reshape(1, 1, 1, -1), UNIT * x

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Each pair is an example of one number."""
        v, x = batch
        error = (network(v).reshape(-1, 1) - x).reshape(-1, 1)
        return proximal_matching(error, UNIT * self.gamma) if self.gamma else error.abs().mean()

    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """Nothing to look at."""
        return {}, torch.zeros(1, 1, 1, 1)


def oracle(v: float, gamma: float) -> float:
    """argmax of p(x | v) * N(0, gamma^2 / 2), on a grid."""
    grid = np.linspace(-3, 6, 4501)
    density = np.exp(-np.abs(grid) - 0.5 * (v - grid) ** 2)
    candidates = np.arange(-0.2, 3, 0.004)
    kernel = np.exp(-(((candidates[:, None] - grid) / gamma) ** 2))
    return float(candidates[(kernel @ density).argmax()])


@cache
def trained() -> ICNN:
    torch.manual_seed(0)
    network = ICNN(widths=(32,), strides=(1,), first=1, kernel=1, convexity=1e-2)
    schedule = Schedule(
        steps=400, batch=5, rate=1e-2, optimiser="adam", average=0.99, validate=10**6, precision="float32"
    )
    plan = [Stage(0.0, schedule)]
    for gamma, steps in ((0.5, 200), (0.2, 200), (LAST, 800)):
        plan.append(Stage(gamma, replace(schedule, steps=steps, rate=5e-3)))
    for _ in train_learned_proximal(Laplace(network), plan):
        pass
    return network.double().requires_grad_(False)


def column(values: list[float]) -> torch.Tensor:
    return UNIT * torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)


def test_the_oracle_is_that_of_the_literature() -> None:
    # The limit is soft thresholding; widths above it give less shrinkage.
    assert oracle(1.0, 0.5) == pytest.approx(0.310, abs=5e-3)
    assert oracle(1.0, 0.1) == pytest.approx(0.110, abs=5e-3)
    assert oracle(2.0, 0.05) == pytest.approx(1.0, abs=5e-3)


def test_proximal_matching_learns_the_mode_and_not_the_mean() -> None:
    places = [0.5, 1.0, 1.5, 2.0, 3.0]
    found: NDArray = (trained()(column(places)) / UNIT).flatten().numpy()
    wanted = np.array([oracle(v, LAST) for v in places])
    assert np.abs(found - wanted).max() <= 0.05, (found, wanted)
    # The posterior's mean and median at 1 are 0.50 and 0.43.
    assert found[1] < 0.2


def test_the_inverted_prior_has_the_slope_of_the_density() -> None:
    found = prior_value(trained(), column([0.5, 1.5, 2.0]), tolerance=1e-6)
    # sigma^2 times the negative logarithm of exp(-|x|) / 2.
    phi = found.value / UNIT**2
    assert float(found.residual.max()) <= 1e-5
    assert float(phi[1] - phi[0]) == pytest.approx(1.0, rel=0.1)
    assert float(phi[2] - phi[0]) == pytest.approx(1.5, rel=0.1)


def test_stages_are_the_published_ones() -> None:
    plan = stages(1000)
    assert [stage.gamma for stage in plan] == [0, 0.64, 0.32, 0.16, 0.08]
    assert sum(stage.schedule.steps for stage in plan) == 1000
    with pytest.raises(UsageError, match="steps = 4"):
        stages(4)


def test_proximal_matching_takes_the_norm_of_a_whole_example() -> None:
    error = torch.full((3, 1, 2, 2), 0.5)
    assert float(proximal_matching(error, 2.0)) == pytest.approx(1 - np.exp(-1 / 4), rel=1e-6)


def test_training_on_pictures_goes_on_where_it_stopped_and_ends_in_the_store(tmp_path: Path) -> None:
    ramp = torch.linspace(0, 1, 40).expand(40, 40).contiguous()
    plan = stages(12, batch=2, gammas=(0.32,), first=0.5)

    def task() -> LearnedProximal:
        torch.manual_seed(3)
        small = ICNN(widths=(4, 4), strides=(1, 2))
        return LearnedProximal(small, [ramp], [ramp], sigma=0.1, patch=16)

    whole = task()
    states = list(train_learned_proximal(whole, plan))
    assert [state.iteration for state in states] == list(range(1, 13))
    assert states[-1].finished and "gamma 0.32" in states[-1].phase
    assert 15 < states[-1].values["psnr_noisy"] < 25

    broken = task()
    run = train_learned_proximal(broken, plan, folder=tmp_path)
    for _ in range(8):
        next(run)
    run.close()
    again = task()
    for _ in train_learned_proximal(again, plan, folder=tmp_path):
        pass
    for a, b in zip(whole.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)

    card = Card("toy", "lpn", "icnn", {}, metrics={"sigma": 0.1})
    save_network(tmp_path / "toy.safetensors", again.network, card)
    loaded, _ = load_network(tmp_path / "toy.safetensors", method="lpn")
    x = torch.rand(1, 1, 9, 11)
    assert torch.allclose(loaded(x), again.network.eval()(x).detach())


def test_pictures_narrower_than_a_patch_are_refused() -> None:
    with pytest.raises(UsageError, match="narrower than the patch"):
        LearnedProximal(ICNN(), [torch.zeros(20, 60)], [], sigma=0.1, patch=48)
