"""Residual blocks of autoencoders, with the names that compressai's files give to their parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

from imagereg.networks.gdn import GDN


def convolution(ins: int, outs: int, kernel: int = 5, stride: int = 2) -> nn.Conv2d:
    """A convolution whose output has 1 / stride of the edge."""
    return nn.Conv2d(ins, outs, kernel, stride=stride, padding=kernel // 2)


def transposed(ins: int, outs: int, kernel: int = 5) -> nn.ConvTranspose2d:
    """A transposed convolution whose output has twice the edge."""
    return nn.ConvTranspose2d(ins, outs, kernel, stride=2, padding=kernel // 2, output_padding=1)


def shuffled(ins: int, outs: int) -> nn.Sequential:
    """A convolution to four channels for each, which become the pixels of twice the edge."""
    return nn.Sequential(convolution(ins, 4 * outs, 3, 1), nn.PixelShuffle(2))


class Block(nn.Module):
    """x + l(c2(l(c1(x)))), l a leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(channels, channels, 3, 1), convolution(channels, channels, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        return x + F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x))))


class Halving(nn.Module):
    """A residual block to half the edge, normalised before the sum."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(ins, outs, 3, 2), convolution(outs, outs, 3, 1)
        self.gdn = GDN(outs)
        self.skip = nn.Conv2d(ins, outs, 1, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, ins, H, W) to (B, outs, H / 2, W / 2)."""
        return self.gdn(self.conv2(F.leaky_relu(self.conv1(x)))) + self.skip(x)


class Doubling(nn.Module):
    """A residual block to twice the edge, normalised inversely before the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.subpel_conv, self.upsample = shuffled(channels, channels), shuffled(channels, channels)
        self.conv = convolution(channels, channels, 3, 1)
        self.igdn = GDN(channels, inverse=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to (B, channels, 2 H, 2 W)."""
        return self.igdn(self.conv(F.leaky_relu(self.subpel_conv(x)))) + self.upsample(x)


class _Unit(nn.Module):
    """relu(x + a bottleneck of three convolutions)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            nn.Conv2d(channels, half, 1),
            nn.ReLU(),
            convolution(half, half, 3, 1),
            nn.ReLU(),
            nn.Conv2d(half, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        return F.relu(x + self.conv(x))


class Attention(nn.Module):
    """x + a(x) sigmoid(b(x)): a branch of residual units, gated by another.

    References
    ----------
    Z. Cheng, H. Sun, M. Takeuchi, J. Katto, CVPR (2020), arXiv:2001.01568.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(_Unit(channels) for _ in range(3)))
        self.conv_b = nn.Sequential(*(_Unit(channels) for _ in range(3)), nn.Conv2d(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.conv_a(x) * torch.sigmoid(self.conv_b(x))
