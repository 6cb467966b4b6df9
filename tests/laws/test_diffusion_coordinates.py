"""Denoisers, noise predictors and scores are one thing in several coordinates; tiles leave no seams."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from exact_denoisers import Mixture, empirical

from imagereg.errors import UsageError
from imagereg.networks.adapter import DenoiserAdapter, VariancePreserving, column
from imagereg.networks.diffusion import DiffusionUNet, target
from imagereg.networks.tiles import Tiled

SHAPE = (1, 2, 3)
N = 6


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixture() -> Mixture:
    roots = 0.2 * normal(1, 3, N, N)
    return Mixture(
        torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64),
        0.5 + 0.3 * normal(2, 3, N),
        roots @ roots.mT + 0.01 * torch.eye(N, dtype=torch.float64),
    )


def test_the_schedule_is_that_of_its_products() -> None:
    schedule = VariancePreserving()
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alpha = torch.cumprod(1 - beta, 0).sqrt()
    t = torch.arange(1000)
    torch.testing.assert_close(schedule.alpha(t), alpha, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        schedule.alpha(t).square() + schedule.sigma(t).square(), torch.ones_like(alpha)
    )
    torch.testing.assert_close(schedule.level(t), (1 - alpha.square()).sqrt() / alpha, rtol=1e-9, atol=0)
    between = torch.tensor([0.0, 0.3, 17.5, 500.25, 999.0], dtype=torch.float64)
    torch.testing.assert_close(schedule.time(schedule.level(between)), between, rtol=1e-9, atol=1e-9)
    assert float(schedule.time(1e6)) == 999
    with pytest.raises(UsageError, match="first <= last"):
        VariancePreserving(0.1, 0.01)


def test_scores_are_gradients_of_the_log_density() -> None:
    exact = mixture()
    adapter = DenoiserAdapter(exact)
    x = (0.5 + 0.5 * normal(3, 4, *SHAPE)).requires_grad_()
    sigma = torch.tensor([0.05, 0.2, 0.7, 2.0], dtype=torch.float64)
    (slope,) = torch.autograd.grad(exact.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(adapter.score(x.detach(), sigma), slope, rtol=1e-9, atol=1e-9)
    # The same images in [-1, 1], with the variance kept.
    wide = Mixture(exact.shares, 2 * exact.means - 1, 4 * exact.covariances)
    t = torch.tensor([0.0, 100.0, 455.5, 999.0], dtype=torch.float64)
    v = normal(4, 4, *SHAPE).requires_grad_()
    schedule = adapter.schedule
    (slope,) = torch.autograd.grad(wide.log_density(v, schedule.sigma(t), schedule.alpha(t)).sum(), v)
    torch.testing.assert_close(adapter.preserving_score(v.detach(), t), slope, rtol=1e-7, atol=1e-7)


def test_every_form_gives_the_denoiser_back() -> None:
    first = DenoiserAdapter(mixture())
    x = 0.5 + 0.4 * normal(5, 3, *SHAPE)
    sigma = first.schedule.level(torch.tensor([3, 250, 700])) / 2
    wanted = first(x, sigma)
    forms = {
        "score": DenoiserAdapter.from_score(first.score),
        "noise": DenoiserAdapter.from_noise(first.noise),
        "preserving score": DenoiserAdapter.from_preserving_score(first.preserving_score),
        # Networks that learn variances have as many channels again.
        "variances": DenoiserAdapter.from_noise(lambda v, t: torch.cat([first.noise(v, t), v], 1)),
        "another range": DenoiserAdapter.from_noise(
            DenoiserAdapter(mixture(), low=0.0, high=255.0).noise, low=0.0, high=255.0
        ),
    }
    for name, adapter in forms.items():
        level = sigma if name != "another range" else first.schedule.level(torch.tensor([3, 250, 700])) / 255
        expected = wanted if name != "another range" else first(x, level)
        torch.testing.assert_close(adapter(x, level), expected, rtol=1e-8, atol=1e-8, msg=name)


def test_noise_less_its_estimate_is_what_the_denoiser_takes_away() -> None:
    adapter = DenoiserAdapter(mixture())
    mu, e = normal(6, 3, *SHAPE), normal(7, 3, *SHAPE)
    t = torch.tensor([20.0, 300.0, 800.0], dtype=torch.float64)
    alpha, sigma = (column(f(t), mu) for f in (adapter.schedule.alpha, adapter.schedule.sigma))
    level = sigma / alpha
    found = level * (adapter.noise(alpha * mu + sigma * e, t) - e)
    clean = 2 * adapter((mu + level * e + 1) / 2, (level / 2).flatten()) - 1
    assert float((found - (mu - clean)).abs().max() / mu.abs().max()) < 1e-12


def test_the_empirical_denoiser_is_that_of_deepinv() -> None:
    from deepinv.models import MMSE

    pictures = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    x = pictures[:3] + 0.2 * normal(8, 3, 1, 4, 4).float()
    theirs = MMSE(pictures, device=torch.device("cpu"))
    torch.testing.assert_close(empirical(pictures)(x, 0.3), theirs(x, 0.3), rtol=1e-4, atol=1e-5)


def filtered(radius: int) -> tuple[torch.Tensor, Tiled]:
    kernel = normal(9, 1, 1, 2 * radius + 1, 2 * radius + 1)
    return kernel, Tiled(lambda x, _: F.conv2d(x, kernel, padding=radius), 32, overlap=16)


@pytest.mark.parametrize("shape", [(100, 77), (33, 32), (64, 31), (48, 160)])
def test_tiles_give_what_the_whole_gives_where_the_network_sees_no_further(shape: tuple[int, int]) -> None:
    kernel, tiled = filtered(4)
    x = normal(10, 2, 1, *shape)
    torch.testing.assert_close(tiled(x, 0.1), F.conv2d(x, kernel, padding=4), rtol=1e-12, atol=1e-12)
    for length in shape:
        total = torch.zeros(length, dtype=torch.float64)
        for first, end, weight in tiled.spans(length):
            assert first % 8 == 0
            total[first:end] += weight
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-15)


def test_tiles_of_a_network_have_no_seams() -> None:
    network = random_network()
    x = torch.rand(1, 1, 96, 160, generator=torch.Generator().manual_seed(0))
    whole = network(x, 0.1)
    tiled = Tiled(network, 64, overlap=32, multiple=network.multiple)(x, 0.1)
    change = float((whole - x).abs().mean())
    assert float((whole - tiled).abs().max()) < 0.02 * change
    with pytest.raises(UsageError, match="multiples of 8"):
        Tiled(network, 60)


def random_network() -> DiffusionUNet:
    """A small network that is not the identity."""
    torch.manual_seed(0)
    network = DiffusionUNet(widths=(8, 16), blocks=1, middle=1, embedding=16)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and ("second" in name or "level" in name):
                weight.normal_(0, 0.05)
    return network.eval().requires_grad_(False)


def test_the_network_denoises_items_channels_and_sizes_alike() -> None:
    network = random_network()
    x = torch.rand(3, 2, 17, 22, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.01, 0.2, 1.5])
    together = network(x, sigma)
    assert together.shape == x.shape
    for item in range(3):
        for channel in range(2):
            alone = network(x[item : item + 1, channel : channel + 1], float(sigma[item]))
            torch.testing.assert_close(together[item, channel], alone[0, 0], rtol=1e-4, atol=1e-5)
    assert float((network(x, 0.01) - network(x, 0.02)).abs().max()) > 0
    with pytest.raises(UsageError, match="a scale and a block"):
        DiffusionUNet(widths=())


def test_the_target_of_the_inner_network_makes_the_denoiser_exact() -> None:
    network = random_network()
    clean = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    sigma = torch.tensor([0.002, 0.1, 0.5, 3.0]).reshape(-1, 1, 1, 1)
    noisy = clean + sigma * normal(11, 4, 1, 16, 16).float()
    wanted = target(clean, noisy, sigma)
    assert 0.5 < float(wanted.std()) < 2
    network.inner = lambda x, s: wanted  # type: ignore[method-assign]
    torch.testing.assert_close(network(noisy, sigma), clean, rtol=1e-4, atol=1e-4)
