"""Score learning by a denoising autoencoder: from noisy images alone, or from pictures noised on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.score import ScoreNetwork, noise_scale
from imagereg.priors.stabilised import FLOOR, Logarithm, SquareRoot
from imagereg.training.squares import draw, middle_of, square_of, squares_of

Kind = Literal["gaussian", "poisson", "gamma"]

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Noisy images y (B, 1, H, W), white noise u like them, and its level sigma_a (B, 1, 1, 1)."""


def score_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """E |u + sigma_a s(y + sigma_a u)|^2 over the number of pixels: the amortised denoising objective.

    Its minimiser is the score of the density of y + sigma_a u, that of y itself for small sigma_a.

    References
    ----------
    J. Lim, A. Courville, C. Pal, C.-W. Huang, ICML (2020), arXiv:2006.05164 (AR-DAE); K. Kim, J. Ye, NeurIPS
    (2021), arXiv:2106.07009.
    """
    y, u, level = batch
    return (u + level * network(y + level * u)).square().mean()


@dataclass(frozen=True)
class Levels:
    """Ranges of noise, log-uniform, of the pictures that a score is learned from.

    The network knows the sum of both noises alone. So the score of an image with the noise sigma, at
    sigma_a = 0, is that of images with less noise of their own and more added, and is not extrapolated to.
    Such images also teach more: the loss asks for sigma^2 (1 + sigma^2 / sigma_a^2) of noise in its target.

    Parameters
    ----------
    sigma : standard deviation of Gaussian noise, on the scale of [0, 1].
    gain : grey value of a photon.
    looks : of speckle.
    added : sigma_a over the noise of the picture.
    """

    sigma: tuple[float, float] = (5 / 255, 25 / 255)
    gain: tuple[float, float] = (0.004, 0.1)
    looks: tuple[float, float] = (40.0, 400.0)
    added: tuple[float, float] = (0.5, 6.0)


class PictureScores:
    """The score of pictures with noise of several kinds and levels, drawn anew for each step.

    The loss sees noisy images alone. Poisson and Gamma noise are seen after the square root and the
    logarithm (see `imagereg.priors.stabilised`), where they are about as large everywhere.

    Parameters
    ----------
    pictures : (H, W) in [0, 1] each, at least `crop` on an edge.
    network : trained in place; a new one where not given.
    kinds : kinds of noise, each drawn as often as it is named.
    levels : their ranges.
    crop : edge of the squares of a step.
    held : pictures from the end of the list that are kept for validation.

    Raises
    ------
    UsageError
        When there are too few pictures, or they are too small.
    """

    def __init__(
        self,
        pictures: Sequence[torch.Tensor],
        network: ScoreNetwork | None = None,
        *,
        kinds: Sequence[Kind] = ("gaussian", "gaussian", "poisson", "gamma"),
        levels: Levels | None = None,
        crop: int = 96,
        held: int = 12,
    ) -> None:
        if len(pictures) <= held:
            raise UsageError(f"{len(pictures)} pictures: give more than the {held} that validate.")
        small = min(min(picture.shape) for picture in pictures)
        if small < crop:
            raise UsageError(f"the smallest picture has an edge of {small} pixels; give at least {crop}.")
        self.network: nn.Module = network or ScoreNetwork()
        self.kinds, self.levels, self.crop = tuple(kinds), levels or Levels(), crop
        self._pictures = [picture.float() for picture in (pictures[:-held] if held else pictures)]
        generator = torch.Generator().manual_seed(2**31)
        held_out = pictures[-held:] if held else pictures[:1]
        self._clean = torch.stack([middle_of(picture.float(), crop) for picture in held_out])[:, None]
        self._held = self._noised(self._clean, generator)
        self._noisy = self._clean + 25 / 255 * torch.randn(self._clean.shape, generator=generator)

    def batch(self, generator: torch.Generator, size: int) -> Batch:
        """Squares of pictures, turned and mirrored, with noise and added noise."""
        device = next(self.network.parameters()).device
        clean = squares_of(self._pictures, self.crop, size, generator)
        y, u, level = self._noised(clean, generator)
        return y.to(device), u.to(device), level.to(device)

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """The score loss."""
        return score_loss(network, batch)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """Score loss on held pictures, which selects; PSNR at sigma 25 beside it, which does not."""
        device = next(network.parameters()).device
        y, u, level = (part.to(device) for part in self._held)
        loss = float(score_loss(network, (y, u, level)))
        noisy = self._noisy.to(device)
        clean = (noisy + (25 / 255) ** 2 * network(noisy)).clamp(0, 1).cpu()
        errors = (clean - self._clean).square().mean((1, 2, 3))
        return {"score_loss": loss, "psnr_25": float(-10 * errors.log10().mean())}, clean[:1]

    def _noised(self, clean: torch.Tensor, generator: torch.Generator) -> Batch:
        noisy, own = [], []
        for picture in clean:
            kind = self.kinds[int(torch.randint(len(self.kinds), (), generator=generator))]
            y, level = self._one(picture, kind, generator)
            noisy.append(y)
            own.append(level)
        y = torch.stack(noisy)
        added = _between(self.levels.added, generator, len(own)).reshape(-1, 1, 1, 1)
        u = torch.randn(y.shape, generator=generator)
        return y, u, added * torch.tensor(own).reshape(-1, 1, 1, 1)

    def _one(self, x: torch.Tensor, kind: Kind, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        """A picture with noise, stabilised, and the standard deviation that its noise then has."""
        if kind == "gaussian":
            sigma = float(_between(self.levels.sigma, generator, 1))
            return x + sigma * torch.randn(x.shape, generator=generator), sigma
        if kind == "poisson":
            gain = float(_between(self.levels.gain, generator, 1))
            y = gain * torch.poisson(x / gain, generator=generator)
            return SquareRoot(gain).to(y), math.sqrt(gain)
        looks = float(_between(self.levels.looks, generator, 1))
        # The cube of a normal number, after Wilson and Hilferty, is Gamma to within 1e-3 for 30 looks.
        normal = torch.randn(x.shape, generator=generator)
        speckle = (1 - 1 / (9 * looks) + normal / math.sqrt(9 * looks)).clamp_min(0.0) ** 3
        return Logarithm(FLOOR).to(x.clamp_min(FLOOR) * speckle), looks**-0.5


class OwnScores:
    """The score of one's own noisy images, and of nothing else.

    Parameters
    ----------
    noisy : (B, C, H, W), stabilised (see `imagereg.priors.stabilised`); channels are taken one by one.
    network : trained in place; a new one where not given.
    crop : edge of the squares of a step.
    level : standard deviation of the noise, roughly; each image's own noise scale where not given.
    added : sigma_a over the level, log-uniform.
    """

    def __init__(
        self,
        noisy: torch.Tensor,
        network: ScoreNetwork | None = None,
        *,
        crop: int = 64,
        level: float | None = None,
        added: tuple[float, float] = (0.4, 1.6),
    ) -> None:
        self.network: nn.Module = network or ScoreNetwork()
        self._noisy = noisy.reshape(-1, *noisy.shape[-2:]).float()
        self.crop, self.added = min(crop, *noisy.shape[-2:]), added
        self._level = noise_scale(self._noisy[:, None]).reshape(-1)
        if level is not None:
            self._level = torch.full_like(self._level, level)
        generator = torch.Generator().manual_seed(2**31)
        squares = [self._square(generator) for _ in range(8)]
        self._held = self._noised(squares, generator)

    def batch(self, generator: torch.Generator, size: int) -> Batch:
        """Squares of the images, turned and mirrored, with added noise."""
        return self._noised([self._square(generator) for _ in range(size)], generator)

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """The score loss."""
        return score_loss(network, batch)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """Score loss at fixed squares and added noise, and the score of the first image."""
        value = float(score_loss(network, self._held))
        return {"score_loss": value}, network(self._noisy[:1, None])

    def _square(self, generator: torch.Generator) -> tuple[torch.Tensor, float]:
        item = draw(len(self._noisy), generator)
        return square_of(self._noisy[item], self.crop, generator), float(self._level[item])

    def _noised(self, squares: list[tuple[torch.Tensor, float]], generator: torch.Generator) -> Batch:
        y = torch.stack([square for square, _ in squares])[:, None]
        own = torch.tensor([level for _, level in squares])
        level = (own * _between(self.added, generator, len(own))).reshape(-1, 1, 1, 1).to(y)
        u = torch.randn(y.shape, generator=generator).to(y)
        return y, u, level


def _between(ends: tuple[float, float], generator: torch.Generator, count: int) -> torch.Tensor:
    """Log-uniform numbers."""
    low, high = math.log(ends[0]), math.log(ends[1])
    return (low + (high - low) * torch.rand(count, generator=generator)).exp()
