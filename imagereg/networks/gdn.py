"""Generalised divisive normalisation, in the parameters that compressai's files hold."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

OFFSET = 2.0**-18
"""Square root of what is added before square roots are taken, so that their slope stays finite at 0."""

LEAST = 1e-6
"""Least value of beta."""


class _AtLeast(torch.autograd.Function):
    """max(x, bound); below the bound, descent may still raise x."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bound: float) -> torch.Tensor:
        ctx.save_for_backward(x >= bound)
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (above,) = ctx.saved_tensors
        (gradient,) = gradients
        return torch.where(above | (gradient < 0), gradient, 0.0), None


def at_least(x: torch.Tensor, bound: float) -> torch.Tensor:
    """max(x, bound), with the gradient of x wherever a descent step would not lower x below the bound."""
    return _AtLeast.apply(x, bound)


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2), or times the root where inverse.

    beta >= 1e-6 and gamma >= 0 are squares of what is stored, less a small offset.

    Parameters
    ----------
    channels : of the images.
    inverse : whether to multiply.

    References
    ----------
    J. Ballé, V. Laparra, E. Simoncelli, ICLR (2016), arXiv:1511.06281.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter((torch.ones(channels) + OFFSET**2).sqrt())
        self.gamma = nn.Parameter((0.1 * torch.eye(channels) + OFFSET**2).sqrt())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        beta = at_least(self.beta, (LEAST + OFFSET**2) ** 0.5).square() - OFFSET**2
        gamma = at_least(self.gamma, OFFSET).square() - OFFSET**2
        power = F.conv2d(x.square(), gamma[:, :, None, None], beta)
        return x * (power.sqrt() if self.inverse else power.rsqrt())
