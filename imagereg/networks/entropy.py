"""Densities of latents under uniform noise of width 1: learned and factorised, or Gaussian."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

from imagereg.networks.gdn import at_least

WIDTHS = (1, 3, 3, 3, 3, 1)
SPREAD = 10.0
LEAST_SCALE = 0.11


def log_gaussian(v: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log [Phi((v - mean + 1/2) / scale) - Phi((v - mean - 1/2) / scale)], entry by entry.

    It is computed from logarithms of Phi, so that its slope leads back from arbitrarily far tails, where the
    difference itself is 0 in floating point.

    Parameters
    ----------
    v, mean, scale : tensors of one shape; scales below 0.11 count as 0.11.

    References
    ----------
    J. Ballé, D. Minnen, S. Singh, S. J. Hwang, N. Johnston, ICLR (2018), arXiv:1802.01436.
    """
    scale = at_least(scale, LEAST_SCALE)
    distance = (v - mean).abs()
    upper = torch.special.log_ndtr((0.5 - distance) / scale)
    lower = torch.special.log_ndtr((-0.5 - distance) / scale)
    return upper + torch.log(-torch.expm1(lower - upper))


class FactorisedPrior(nn.Module):
    """A density of each channel: log [c(v + 1/2) - c(v - 1/2)] with c an increasing function, learned.

    c = sigmoid of a chain of matrices softplus(H) and the maps t + tanh(a) tanh(t), all of which increase.
    The parameters bear the names of compressai's files.

    Parameters
    ----------
    channels : number of channels, each with a density of its own.

    References
    ----------
    J. Ballé, D. Minnen, S. Singh, S. J. Hwang, N. Johnston, ICLR (2018), arXiv:1802.01436, appendix 6.1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        share = SPREAD ** (1 / (len(WIDTHS) - 1))
        for number, (ins, outs) in enumerate(itertools.pairwise(WIDTHS)):
            # So that c begins as a sigmoid about `SPREAD` wide.
            start = math.log(math.expm1(1 / share / outs))
            self.matrices.append(nn.Parameter(torch.full((channels, outs, ins), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, outs, 1) - 0.5))
            if number + 2 < len(WIDTHS):
                self.factors.append(nn.Parameter(torch.zeros(channels, outs, 1)))

    def logits(self, v: torch.Tensor) -> torch.Tensor:
        """The logit of c, (channels, 1, n) to the same."""
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            v = F.softplus(matrix) @ v + bias
            if number < len(self.factors):
                v = v + self.factors[number].tanh() * v.tanh()
        return v

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """log density of each entry of h (B, channels, H, W), in its shape."""
        values = h.movedim(1, 0).reshape(h.shape[1], 1, -1)
        upper, lower = self.logits(values + 0.5), self.logits(values - 0.5)
        # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u)), which never cancels.
        log = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
        return log.reshape(h.shape[1], h.shape[0], *h.shape[2:]).movedim(0, 1)
