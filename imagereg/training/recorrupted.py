"""Recorrupted-to-recorrupted by deepinv's loss on our network and loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from imagereg.networks.unet import UNet
from imagereg.training.squares import draw, squares_of


class Residual(nn.Module):
    """y - net(y): the network learns the noise, which is the easier half."""

    def __init__(self) -> None:
        super().__init__()
        self.net = UNet(widths=(24, 48, 96), blocks=1)

    def forward(self, y: torch.Tensor, physics: Any = None, **_: Any) -> torch.Tensor:
        """(B, 1, H, W) to the same; the physics, which deepinv passes, is the identity."""
        return y - self.net(y)


class Recorrupted:
    """deepinv's R2RLoss on squares of noisy images.

    Parameters
    ----------
    noisy : (B, C, H, W), on the scale of [0, 1]; channels are taken one by one.
    noise : the noise model, of imagereg.
    alpha : share of the second image.
    crop : edge of the squares of a step.

    References
    ----------
    T. Pang et al., CVPR (2021), doi:10.1109/CVPR46437.2021.00208.
    """

    def __init__(self, noisy: torch.Tensor, noise: Any, *, alpha: float = 0.3, crop: int = 64) -> None:
        from deepinv.loss import R2RLoss
        from deepinv.physics import Denoising

        self.network: nn.Module = Residual()
        self._noisy = noisy.reshape(-1, *noisy.shape[-2:]).float()
        self.crop = min(crop, *noisy.shape[-2:])
        self._loss = R2RLoss(noise_model=noise.deepinv(), alpha=alpha, eval_n_samples=5)
        self._physics = Denoising(noise_model=noise.deepinv())
        self._held = self.batch(torch.Generator().manual_seed(2**31), 8)

    def batch(self, generator: torch.Generator, size: int) -> tuple[torch.Tensor, int]:
        """Squares of the noisy images, turned and mirrored, and a seed of the recorruption."""
        return squares_of(self._noisy, self.crop, size, generator), draw(2**31, generator)

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, int]) -> torch.Tensor:
        """deepinv's loss of a batch; it draws from torch's own generator, which is set and put back."""
        y, seed = batch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._loss.adapt_model(network)
            model.train()
            found = model(y, self._physics, update_parameters=True)
            return self._loss(x_net=found, y=y, physics=self._physics, model=model).mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """The loss at fixed squares and recorruption, and the first of them denoised."""
        return {"held_loss": float(self.loss(network, self._held))}, self.mean(network, self._held[0][:1])

    @torch.no_grad()
    def mean(self, network: nn.Module, y: torch.Tensor) -> torch.Tensor:
        """The mean of the network over recorruptions of y, the same ones each time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self._loss.adapt_model(network)
            model.eval()
            return model(y, self._physics)
