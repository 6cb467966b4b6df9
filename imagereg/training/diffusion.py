"""What a diffusion prior learns: pictures from noise of every level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.diffusion import LEAST, MEAN, MOST, SPREAD, DiffusionUNet, target
from imagereg.training.learned_fbp import Scans
from imagereg.training.squares import middle_of, squares_of

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Clean squares x and noisy ones x + sigma e, (B, 1, H, W), and the levels sigma (B, 1, 1, 1)."""

VALIDATED = (0.05, 0.2, 0.8)
"""Noise levels at which a network is validated."""


class Denoising:
    """min E w(sigma) |D(x + sigma e, sigma) - x|^2, w = (sigma^2 + d^2) / (sigma d)^2, d = 1/4.

    With that weight every level asks for an error of order one of the network's inner part (see
    `DiffusionUNet`). ln sigma is normal, cut to the range of levels: most of the work is where images have
    neither gone nor come back.

    Parameters
    ----------
    pictures : (H, W) in [0, 1] each, at least `crop` on an edge.
    network : trained in place; a new one where not given.
    crop : edge of the squares of a step.
    held : pictures from the end of the list that are kept for validation.
    median, spread : of sigma, and the standard deviation of its logarithm.

    Raises
    ------
    UsageError
        When there are too few pictures, or they are too small.

    References
    ----------
    T. Karras, M. Aittala, T. Aila, S. Laine, NeurIPS (2022), arXiv:2206.00364.
    """

    def __init__(
        self,
        pictures: Sequence[torch.Tensor],
        network: DiffusionUNet | None = None,
        *,
        crop: int = 64,
        held: int = 12,
        median: float = 0.12,
        spread: float = 1.4,
    ) -> None:
        small = min((min(picture.shape) for picture in pictures), default=0)
        if len(pictures) <= held or small < crop:
            raise UsageError(
                f"{len(pictures)} pictures, the smallest with an edge of {small}: give more than the {held} "
                f"that validate, with edges of at least {crop}."
            )
        self.network: nn.Module = network or DiffusionUNet()
        self.crop, self.median, self.spread = crop, median, spread
        self._pictures = list(pictures[:-held] if held else pictures)
        generator = torch.Generator().manual_seed(2**31)
        held_out = pictures[-held:] if held else pictures[:1]
        self._clean = torch.stack([middle_of(picture, crop).float() for picture in held_out])[:, None]
        self._noise = torch.randn(self._clean.shape, generator=generator)

    def batch(self, generator: torch.Generator, size: int) -> Batch:
        """Squares of pictures, turned and mirrored, and the same with noise."""
        clean = squares_of(self._pictures, self.crop, size, generator).float()
        logarithm = math.log(self.median) + self.spread * torch.randn(size, generator=generator)
        sigma = logarithm.exp().clamp(LEAST, MOST).reshape(-1, 1, 1, 1)
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        device = next(self.network.parameters()).device
        return clean.to(device), noisy.to(device), sigma.to(device)

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """The weighted error, as the mean squared error of the inner network."""
        clean, noisy, sigma = batch
        scaled = (noisy - MEAN) * (sigma.square() + SPREAD**2).rsqrt()
        found = network.inner(scaled, sigma.flatten())  # type: ignore[operator]
        return (found - target(clean, noisy, sigma)).square().mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """PSNR of held pictures at a few noise levels, their mean as `psnr`, and one denoised."""
        device = next(network.parameters()).device
        figures: dict[str, float] = {}
        for sigma in VALIDATED:
            found = network((self._clean + sigma * self._noise).to(device), sigma).clamp(0, 1).cpu()
            errors = (found - self._clean).square().mean((1, 2, 3)).clamp_min(1e-10)
            figures[f"psnr_sigma_{sigma:g}"] = float(-10 * errors.log10().mean())
        return {**figures, "psnr": sum(figures.values()) / len(figures)}, found[:1]


def generated_pictures(count: int, size: int, seed: int) -> list[torch.Tensor]:
    """Scenes of bodies, lines, dots and foam in [0, 1], (size, size) each (see `Scans.scene`)."""
    random, scans = np.random.default_rng(seed), Scans(size)
    return [torch.from_numpy(scans.scene(random)).half() for _ in range(count)]
