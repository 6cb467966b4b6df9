"""Denoisers that train on one noisy image: the nuclear norm of the Jacobian, and recorruption."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from torch import nn

import imagereg as ir
from imagereg.methods.registry import method
from imagereg.training.nuclear_norm import NuclearNorm


class Linear(nn.Module):
    """f = g o h on one pixel: g and h multiply by numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.widths = (1,)
        self.g, self.h = (nn.Parameter(torch.tensor(0.9)) for _ in range(2))

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.h * x]

    def decode(self, code: list[torch.Tensor]) -> torch.Tensor:
        return self.g * code[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encode(x))


@pytest.mark.parametrize("spread", [0.5, 1.5, 3.0])
def test_a_linear_network_becomes_the_wiener_filter(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = (1 + spread**2) ** 0.5 * torch.randn(1, 1, 256, 256, generator=generator)
    task = NuclearNorm(noisy, Linear(), crop=256)  # type: ignore[arg-type]
    batch = task.batch(generator, 1)
    optimiser = torch.optim.LBFGS(task.network.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = task.loss(task.network, batch)
        loss.backward()
        return loss

    optimiser.step(closure)
    gain = float(task.network.g * task.network.h)
    wiener = spread**2 / (1 + spread**2)  # of white signals in noise of variance 1
    assert gain == pytest.approx(wiener, abs=0.02)
    assert float(task.network.g.abs()) == pytest.approx(float(task.network.h.abs()), rel=0.03)


@pytest.mark.parametrize(("name", "steps"), [("nuclear_norm_denoiser", 30), ("recorrupted", 50)])
def test_they_denoise_and_show_how_they_train(name: str, steps: int) -> None:
    clean = torch.zeros(1, 1, 64, 64)
    clean[..., 16:48, 20:44] = 1.0
    noise = ir.GaussianNoise(0.2)
    noisy = noise.sample(clean, seed=0)
    chosen = method(name, steps=steps, batch=4, crop=32)
    states = list(ir.iterate(ir.Measurement(noisy, noise=noise), chosen))
    assert len(states) == steps + 1
    assert {state.phase for state in states[:-1]} == {"training"}
    error = [float((image - clean).square().mean()) for image in (noisy, states[-1].image)]
    assert error[1] < error[0] / 2
    last = deque(ir.iterate(ir.Measurement(noisy, noise=noise), chosen), maxlen=1)[0]
    assert torch.equal(last.image, states[-1].image)


@pytest.mark.parametrize("noise", [ir.PoissonNoise(0.05), ir.GammaNoise(20.0)])
@pytest.mark.parametrize("name", ["nuclear_norm_denoiser", "recorrupted"])
def test_noise_that_grows_with_the_grey_value_is_met(noise: ir.PoissonNoise, name: str) -> None:
    clean = torch.full((1, 1, 64, 64), 0.4)
    clean[..., 16:48, 20:44] = 1.0
    noisy = noise.sample(clean, seed=0)
    chosen = method(name, steps=25, batch=2, crop=32)
    last = deque(ir.iterate(ir.Measurement(noisy, noise=noise), chosen), maxlen=1)[0]
    assert torch.isfinite(last.image).all()
    assert float((last.image - clean).square().mean()) < 0.8 * float((noisy - clean).square().mean())
