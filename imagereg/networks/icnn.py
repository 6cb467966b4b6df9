"""Input-convex networks whose gradients are proximal operators of images of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

from imagereg.errors import UsageError
from imagereg.networks.edges import fold, widened

THRESHOLD = 0.05
"""Grey values below which the network takes coefficients for noise before it is trained."""

LARGE = 2**14
"""Pixels of items that are taken one by one; smaller ones are quicker together."""


class ICNN(nn.Module):
    """f = grad psi of a smooth convex psi, which is the proximal operator of phi = psi* - 1/2 ||.||^2.

    With g(t) = log(1 + exp(beta t)) / beta,

        z_1 = g(H_1 x + b_1),   z_k = g(W_k z_{k-1} + H_k x + b_k),   W_k >= 0,
        psi(x) = alpha / 2 ||x||^2 + sum over k and positions of <w_k, z_k> + 1/2 <q_k, z_k^2>,

    and w_k, q_k >= 0. The squares, of convex functions that are not negative, are convex. With them psi grows
    as a square does, and f as x, with few kinks; without, f is bounded, and channels are spent on x itself.

    H_k and W_k are convolutions, so that psi is a sum of local potentials and f acts on images of any size.
    For every size f is exactly a proximal operator; that of a larger image belongs to the sum of the same
    potentials, which is no longer the prior that was matched on patches of the training's size. Beyond its
    edges an image goes on as in a mirror, where potentials do not count.

    H_k sees the image at its full resolution: the pixels of a block of strides are channels.

    Parameters
    ----------
    inputs : channels C of images.
    widths : channels of each layer.
    strides : step of each layer on the grid of the one before.
    first : edge of the convolution H_1, odd.
    kernel : edge of all other convolutions, odd; 1, as `first`, for vectors of numbers at each position.
    sharpness : beta.
    convexity : alpha, above 0 where f shall be invertible.

    Raises
    ------
    UsageError
        When widths and strides differ in number, a kernel is even, or a number is not positive.

    References
    ----------
    Z. Fang, S. Buchanan, J. Sulam, ICLR (2024), arXiv:2310.14344; B. Amos, L. Xu, J. Z. Kolter, ICML (2017),
    arXiv:1609.07152 (input convexity); R. Gribonval, M. Nikolova, J. Math. Imaging Vis. 62 (2020) 773,
    doi:10.1007/s10851-020-00951-y (proximal operators are gradients of convex functions).
    """

    def __init__(
        self,
        inputs: int = 1,
        *,
        widths: Sequence[int] = (50, 64, 96, 96),
        strides: Sequence[int] = (1, 2, 1, 2),
        first: int = 5,
        kernel: int = 3,
        sharpness: float = 100.0,
        convexity: float = 1e-3,
    ) -> None:
        super().__init__()
        if len(widths) != len(strides) or not widths or kernel % 2 != 1 or first % 2 != 1:
            raise UsageError(
                f"ICNN(widths={tuple(widths)}, strides={tuple(strides)}, first={first}, kernel={kernel}): "
                "give as many strides as widths and odd kernels."
            )
        if min(*widths, *strides, first, kernel) < 1 or not sharpness > 0 or not convexity >= 0:
            raise UsageError(
                f"ICNN(widths={tuple(widths)}, strides={tuple(strides)}, first={first}, kernel={kernel}, "
                f"sharpness={sharpness}, convexity={convexity}): convexity must be at least 0, all others "
                "positive."
            )
        self.inputs, self.widths, self.strides = inputs, tuple(widths), tuple(strides)
        self.first, self.kernel = first, kernel
        self.sharpness, self.convexity = float(sharpness), float(convexity)
        self.blocks = [math.prod(self.strides[: k + 1]) for k in range(len(self.strides))]
        self.direct = nn.ModuleList(
            nn.Conv2d(inputs * block**2, width, kernel if k else first)
            for k, (width, block) in enumerate(zip(self.widths, self.blocks, strict=True))
        )
        self.along = nn.ModuleList(
            nn.Conv2d(before, width, kernel, stride=stride, bias=False)
            for before, width, stride in zip(self.widths, self.widths[1:], self.strides[1:], strict=False)
        )
        self.readout = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in self.widths)
        self.square = nn.ParameterList(nn.Parameter(torch.empty(width)) for width in self.widths)
        self._begin()
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def _begin(self) -> None:
        """Start near the shrinkage of cosine coefficients; later layers are small and random."""
        for layer in self.direct:
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            nn.init.uniform_(layer.bias, -2 * THRESHOLD, 0)
        for layer in self.along:
            nn.init.uniform_(layer.weight, 0, 1 / layer.weight[0].numel())
        for weight, block in zip(self.square, self.blocks, strict=True):
            nn.init.constant_(weight, 0.1 * block**2 / (len(weight) * len(self.widths)))
        # An orthonormal basis of a window and its negative: at each pixel all windows add up to the image.
        cosines = _cosines(self.direct[0].weight.shape[1:])
        pairs = min(self.widths[0] // 2, len(cosines))
        self.direct[0].weight[: 2 * pairs] = torch.cat((cosines[:pairs], -cosines[:pairs]))
        self.direct[0].bias[: 2 * pairs] = -THRESHOLD
        self.direct[0].bias[[0, pairs]] = 0.0
        self.square[0][: 2 * pairs] = 1 / self.first**2

    def settings(self) -> dict[str, object]:
        """Plain values from which the same architecture is built again."""
        return {
            "inputs": self.inputs,
            "widths": list(self.widths),
            "strides": list(self.strides),
            "first": self.first,
            "kernel": self.kernel,
            "sharpness": self.sharpness,
            "convexity": self.convexity,
        }

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring W_k, w_k and q_k back to values that are not negative, without which psi is not convex."""
        for layer in self.along:
            layer.weight.clamp_(min=0)
        for weight in (*self.readout, *self.square):
            weight.clamp_(min=0)

    def potential(self, x: torch.Tensor) -> torch.Tensor:
        """psi of each item of (B, inputs, H, W), shape (B,)."""
        value = 0.5 * self.convexity * x.square().flatten(1).sum(1)
        for k, z in enumerate(self._layers(x)):
            counted = self._counted(k, x) * z
            value = value + counted.sum((-2, -1)) @ self.readout[k]
            value = value + (counted * z).sum((-2, -1)) @ self.square[k] / 2
        return value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f(x) = grad psi(x), (B, inputs, H, W) to the same.

        The chain rule is written out: it needs no graph, and its own derivatives are those of convolutions,
        where twice differentiated convolutions are slow. Without a graph, items take the memory of one.
        """
        if len(x) > 1 and x[0, 0].numel() >= LARGE and not torch.is_grad_enabled():
            return torch.cat([self(item[None]) for item in x])
        total: torch.Tensor | float = 0.0
        derivative: torch.Tensor | None = None  # of psi by what enters g
        layers = self._layers(x)
        for k in reversed(range(len(self.widths))):
            z = layers.pop()
            upon = torch.addcmul(_each(self.readout[k]), _each(self.square[k]), z) * self._counted(k, x)
            if derivative is not None:
                stride, pad = self.strides[k + 1], self.kernel // 2
                weight = self.along[k].weight
                back = F.conv_transpose2d(derivative, weight, stride=stride, output_padding=stride - 1)
                upon += fold(back, pad, pad, pad)
            rest = (-self.sharpness * z).exp_()
            derivative = torch.addcmul(upon, upon, rest, value=-1)  # g' = 1 - exp(-beta g)
            del z, upon, rest
            pad = self._around(k)
            back = F.pixel_shuffle(F.conv_transpose2d(derivative, self.direct[k].weight), self.blocks[k])
            total = total + fold(back, pad, pad, pad)
        assert isinstance(total, torch.Tensor)
        return self.convexity * x + fold(total, 0, *self._missing(x))

    def _layers(self, x: torch.Tensor) -> list[torch.Tensor]:
        """z_k of all layers."""
        whole = widened(x, 0, *self._missing(x))
        # Where g is below rounding it is constant and its slope 0. Slopes would be subnormal numbers there,
        # which processors compute with ten times as slowly.
        flat = math.log(torch.finfo(x.dtype).eps / 64)
        layers: list[torch.Tensor] = []
        for k, direct in enumerate(self.direct):
            pad = self._around(k)
            entered = direct(F.pixel_unshuffle(widened(whole, pad, pad, pad), self.blocks[k]))
            if k:
                pad = self.kernel // 2
                entered += self.along[k - 1](widened(layers[-1], pad, pad, pad))
            entered = entered.mul_(self.sharpness).clamp_min_(flat)
            layers.append(F.softplus(entered).div_(self.sharpness))
        return layers

    def _around(self, k: int) -> int:
        """Pixels beyond the edges that H_k sees."""
        return (self.kernel if k else self.first) // 2 * self.blocks[k]

    def _missing(self, x: torch.Tensor) -> tuple[int, int]:
        """Rows and columns to the next multiple of all strides."""
        return -x.shape[-2] % self.blocks[-1], -x.shape[-1] % self.blocks[-1]

    def _counted(self, k: int, x: torch.Tensor) -> torch.Tensor | float:
        """The part of each position of layer k that lies in the image, (rows, columns)."""
        if not any(self._missing(x)):
            return 1.0
        block = self.blocks[k]
        rows, columns = (
            (size - block * torch.arange((size + more) // block, device=x.device)).clamp(0, block) / block
            for size, more in zip(x.shape[-2:], self._missing(x), strict=True)
        )
        return (rows[:, None] * columns).to(x.dtype)


def _each(weight: torch.Tensor) -> torch.Tensor:
    """One number a channel."""
    return weight[:, None, None]


def _cosines(shape: Sequence[int]) -> torch.Tensor:
    """An orthonormal basis of windows (C, k, k), the slowest waves first."""
    from scipy.fft import dctn

    size = math.prod(shape)
    waves = dctn(np.eye(size).reshape(size, *shape), axes=(1, 2, 3), norm="ortho").reshape(size, size).T
    frequency = np.indices(shape).sum(0).ravel()
    return torch.from_numpy(waves[np.argsort(frequency, kind="stable")].reshape(size, *shape)).float()
