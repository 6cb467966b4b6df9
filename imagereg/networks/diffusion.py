"""A small convolutional network that denoises at every noise level: a diffusion prior."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.unet import ResidualBlock, mirrored

LEAST, MOST = 0.002, 3.0
"""Noise levels of the training, for images in [0, 1]."""

MEAN, SPREAD = 0.5, 0.25
"""Mean and standard deviation of grey values that the network counts with."""

_FREQUENCIES = 8


class LevelBlock(ResidualBlock):
    """x + c2(relu((1 + tanh a) c1(x) + b)), a and b linear in an embedding of the noise level.

    Bounded factors keep a chain of blocks from growing without bound on its way through a training.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__(channels)
        self.level = nn.Linear(embedding, 2 * channels)
        nn.init.zeros_(self.level.weight)
        nn.init.zeros_(self.level.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor | None = None) -> torch.Tensor:
        """(B, channels, H, W) and (B, embedding) to the shape of x."""
        if embedding is None:
            return super().forward(x)
        factor, shift = self.level(embedding)[..., None, None].chunk(2, dim=1)
        inner = torch.addcmul(shift.to(x.dtype), self.first(x), 1 + factor.tanh().to(x.dtype))
        return x + self.second(F.relu(inner, inplace=True))


class DiffusionUNet(nn.Module):
    """D(x, sigma), an estimate of E[x0 | x0 + sigma e = x] of grey images in [0, 1] at any noise level.

    With z = x - 1/2, d = 1/4, the standard deviation of grey values, and r = sqrt(sigma^2 + d^2),

        D(x, sigma) = 1/2 + d^2 / r^2 z + sigma d / r F(z / r, ln sigma),

    so that F sees and gives numbers of order one at every level. F is a U-Net of residual blocks with sums
    across and no normalisation: a pixel depends neither on the size of its image nor on what is far away, so
    that tiles of a large image are what the whole would give. Images of any size are mirrored up to a
    multiple of the coarsest scale. Channels are taken one by one.

    Parameters
    ----------
    widths : channels of each scale, finest first, each with half the edge of the one before.
    blocks : residual blocks of a scale, on the way down and on the way up.
    middle : residual blocks of the coarsest scale.
    embedding : length of the embedding of the noise level.

    Raises
    ------
    UsageError
        When there is no scale or no block.

    References
    ----------
    T. Karras, M. Aittala, T. Aila, S. Laine, NeurIPS (2022), arXiv:2206.00364 (the scaling); E. Perez et al.,
    AAAI (2018), arXiv:1709.07871 (factor and shift); see `imagereg.networks.unet.UNet` for the rest.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 64, 96, 128),
        blocks: int = 1,
        middle: int = 2,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        if not widths or min(blocks, middle, embedding) < 1:
            raise UsageError(
                f"DiffusionUNet(widths={widths}, blocks={blocks}, middle={middle}): give a scale and a block "
                "at least."
            )
        self.widths, self.blocks = tuple(widths), blocks
        self.middle_blocks, self.embedding = middle, embedding
        pairs = list(zip(self.widths, self.widths[1:], strict=False))
        self.level = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, embedding), nn.ReLU(), nn.Linear(embedding, embedding)
        )
        self.head = nn.Conv2d(1, self.widths[0], 3, padding=1)
        self.down = nn.ModuleList(self._scale(fine, blocks) for fine, _ in pairs)
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.middle = self._scale(self.widths[-1], middle)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(self._scale(fine, blocks) for fine, _ in pairs)
        self.tail = nn.Conv2d(self.widths[0], 1, 3, padding=1)

    def _scale(self, channels: int, count: int) -> nn.ModuleList:
        return nn.ModuleList(LevelBlock(channels, self.embedding) for _ in range(count))

    @property
    def multiple(self) -> int:
        """Pixels of the finest scale in one of the coarsest: where tiles must begin."""
        return 2 ** (len(self.widths) - 1)

    def settings(self) -> dict[str, object]:
        """Plain values from which the same architecture is built again."""
        return {
            "widths": list(self.widths),
            "blocks": self.blocks,
            "middle": self.middle_blocks,
            "embedding": self.embedding,
        }

    def forward(self, x: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
        """The image without its noise.

        Parameters
        ----------
        x : (B, C, H, W).
        sigma : standard deviation of the noise, positive; a number, or one an item.
        """
        level = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).reshape(-1, 1, 1, 1)
        single = x.reshape(-1, 1, *x.shape[-2:]).float() - MEAN
        level = level.expand(x.shape[0], 1, 1, 1).repeat_interleave(x.shape[1], 0)
        total = level.square() + SPREAD**2
        inner = self.inner(single * total.rsqrt(), level.flatten())
        clean = MEAN + SPREAD**2 / total * single + SPREAD * level * total.rsqrt() * inner
        return clean.reshape(x.shape).to(x.dtype)

    def inner(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """F: (B, 1, H, W) of variance about one, and the levels (B,), to the shape of x, float32."""
        height, width = x.shape[-2:]
        x = mirrored(x, self.multiple).contiguous(memory_format=torch.channels_last)
        embedding = self.level(_waves(sigma))
        embedding = embedding * embedding.square().mean(1, keepdim=True).add(1e-6).rsqrt()
        x = self.head(x)
        across = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            x = _through(blocks, x, embedding)
            across.append(x)
            x = shrink(x)
        x = _through(self.middle, x, embedding)
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = _through(blocks, grow(x) + across.pop(), embedding)
        return self.tail(x)[..., :height, :width].float().contiguous()


def target(x: torch.Tensor, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """What F must give so that D(noisy, sigma) = x; of order one at every level.

    Parameters
    ----------
    x, noisy : (B, 1, H, W) in [0, 1].
    sigma : (B, 1, 1, 1).
    """
    total = sigma.square() + SPREAD**2
    skip = MEAN + SPREAD**2 / total * (noisy - MEAN)
    return (x - skip) * total.sqrt() / (SPREAD * sigma)


def _waves(sigma: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the logarithm of the level, which runs from -1 to 1 over the trained range."""
    low, high = math.log(LEAST), math.log(MOST)
    place = 2 * (sigma.clamp(LEAST, MOST).log() - low) / (high - low) - 1
    frequencies = 0.5 * math.pi * torch.arange(1, _FREQUENCIES + 1, device=sigma.device)
    angle = place[:, None] * frequencies
    return torch.cat([angle.sin(), angle.cos()], 1)


def _through(blocks: nn.Module, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    for block in blocks:  # type: ignore[attr-defined]
        x = block(x, embedding)
    return x
