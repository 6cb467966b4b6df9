"""What a hyperprior autoencoder learns: pictures in few bits with a small error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.hyperprior import Hyperprior
from imagereg.training.squares import draw, faded, middle_of, square_of


def decoder_std(rate: float, channels: int = 1) -> float:
    """gamma = sqrt(C / (2 alpha 255^2 ln 2)), the noise of p(x | z) = N(D(z), gamma^2) that the loss implies.

    Parameters
    ----------
    rate : alpha, squared error against bits (see `Hyperpriors`).
    channels : C.
    """
    return math.sqrt(channels / (2 * rate * 255**2 * math.log(2)))


class Hyperpriors:
    """alpha 255^2 |x - D(z + u)|^2 / n + bits / pixel, u uniform noise of width 1 in place of rounding.

    n counts all values and `pixel` the positions of an image. It is the evidence bound of a variational
    autoencoder with uniform posteriors and noise `decoder_std` in the image.

    Parameters
    ----------
    pictures : clean pictures in [0, 1], (H, W), or (3, H, W) for a network of three channels; their edges at
        least `crop`.
    network : trained in place.
    rate : alpha; large for faithful images, small for a strong prior. The field uses 0.0018 to 0.18.
    crop : edge of the squares of a step, a multiple of 64.
    held : pictures from the end of the list that are kept for validation.
    contrast : grey values are stretched by factors down to 1 - contrast and shifted within [0, 1].

    Raises
    ------
    UsageError
        When there are too few pictures, they are too small or of other channels, or a number does not serve.

    References
    ----------
    J. Ballé, D. Minnen, S. Singh, S. J. Hwang, N. Johnston, ICLR (2018), arXiv:1802.01436.
    """

    def __init__(
        self,
        pictures: Sequence[torch.Tensor],
        network: Hyperprior | None = None,
        *,
        rate: float = 0.05,
        crop: int = 64,
        held: int = 12,
        contrast: float = 0.3,
    ) -> None:
        network = network or Hyperprior()
        if not 0 < rate < math.inf or crop < 1 or crop % Hyperprior.stride or not 0 <= contrast < 1:
            raise UsageError(
                f"rate = {rate}, crop = {crop}, contrast = {contrast}: give a positive rate, a crop that is "
                f"a multiple of {Hyperprior.stride}, and a contrast in [0, 1)."
            )
        if len(pictures) <= held:
            raise UsageError(f"{len(pictures)} pictures: give more than the {held} that validate.")
        tensors = [picture.float().reshape(-1, *picture.shape[-2:]) for picture in pictures]
        small = min(min(picture.shape[-2:]) for picture in tensors)
        if small < crop:
            raise UsageError(f"the smallest picture has an edge of {small} pixels; give at least {crop}.")
        if any(len(picture) != network.channels for picture in tensors):
            raise UsageError(f"the network takes pictures of {network.channels} channels; give such.")
        self.network: nn.Module = network
        self.rate, self.crop, self.contrast = rate, crop, contrast
        self._pictures = tensors[:-held] if held else tensors
        self._held = torch.stack([middle_of(picture, crop) for picture in tensors[-max(held, 1) :]])

    def batch(self, generator: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Generator]:
        """Squares of pictures, turned, mirrored and of less contrast; and what the noise is drawn from."""
        squares = [
            square_of(self._pictures[draw(len(self._pictures), generator)], self.crop, generator)
            for _ in range(size)
        ]
        clean = faded(torch.stack(squares), self.contrast, generator)
        return clean.to(next(self.network.parameters()).device), generator

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Generator]) -> torch.Tensor:
        """Rate and distortion."""
        clean, generator = batch
        error, bits = _judge(network, clean, generator)
        return self.rate * 255**2 * error.mean() + bits.mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """Loss, bits a pixel, PSNR and root mean square error of held pictures, with noise in the latents."""
        clean = self._held.to(next(network.parameters()).device)
        error, bits = _judge(network, clean, torch.Generator().manual_seed(2**31))
        figures = {
            "held_loss": float(self.rate * 255**2 * error.mean() + bits.mean()),
            "bits": float(bits.mean()),
            "psnr": float(-10 * error.log10().mean()),
            "rmse": float(error.mean().sqrt()),
            "alpha": self.rate,
        }
        return figures, network(clean[:1])[0]


def _judge(
    network: nn.Module, clean: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared error and bits a pixel of each item, (B,)."""
    found, nats = network(clean, generator)
    pixels = clean.shape[-2] * clean.shape[-1]
    return (found.float() - clean).square().flatten(1).mean(1), nats / (pixels * math.log(2))
