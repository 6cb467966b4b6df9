"""Input-convex networks whose gradients are proximal operators of images of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

from imagereg.errors import UsageError


class ICNN(nn.Module):
    """f = grad psi of a smooth convex psi, which is the proximal operator of phi = psi* - 1/2 ||.||^2.

    With g(t) = log(1 + exp(beta t)) / beta,

        z_1 = g(H_1 x + b_1),   z_k = g(W_k z_{k-1} + H_k x + b_k),   W_k >= 0,
        psi(x) = alpha / 2 ||x||^2 + sum over k and positions of <w_k, z_k>,   w_k >= 0.

    H_k and W_k are convolutions, so that psi is a sum of local potentials and f acts on images of any size.
    For every size f is exactly a proximal operator; that of a larger image belongs to the sum of the same
    potentials, which is no longer the prior that was matched on patches of the training's size. Beyond its
    edges, and up to a multiple of the strides, an image is 0.

    H_k sees the image at its full resolution: the pixels of a block of strides are channels.

    Parameters
    ----------
    inputs : channels C of images.
    widths : channels of each layer.
    strides : step of each layer on the grid of the one before.
    kernel : edge of all convolutions, odd; 1 for vectors of `inputs` numbers at each position.
    sharpness : beta.
    convexity : alpha, above 0 where f shall be invertible.

    Raises
    ------
    UsageError
        When widths and strides differ in number, the kernel is even, or a number is not positive.

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
        widths: Sequence[int] = (32, 64, 96, 96),
        strides: Sequence[int] = (1, 2, 1, 2),
        kernel: int = 3,
        sharpness: float = 100.0,
        convexity: float = 1e-3,
    ) -> None:
        super().__init__()
        if len(widths) != len(strides) or not widths or kernel % 2 != 1:
            raise UsageError(
                f"ICNN(widths={tuple(widths)}, strides={tuple(strides)}, kernel={kernel}): give as "
                "many strides as widths and an odd kernel."
            )
        if min(*widths, *strides) < 1 or not sharpness > 0 or not convexity >= 0:
            raise UsageError(
                f"ICNN(widths={tuple(widths)}, strides={tuple(strides)}, sharpness={sharpness}, "
                f"convexity={convexity}): widths, strides and sharpness must be positive, "
                "convexity at least 0."
            )
        self.inputs, self.widths, self.strides, self.kernel = inputs, tuple(widths), tuple(strides), kernel
        self.sharpness, self.convexity = float(sharpness), float(convexity)
        self.blocks = [math.prod(self.strides[: k + 1]) for k in range(len(self.strides))]
        pad = kernel // 2
        self.direct = nn.ModuleList(
            nn.Conv2d(inputs * block**2, width, kernel, padding=pad)
            for width, block in zip(self.widths, self.blocks, strict=True)
        )
        self.along = nn.ModuleList(
            nn.Conv2d(before, width, kernel, stride=stride, padding=pad, bias=False)
            for before, width, stride in zip(self.widths, self.widths[1:], self.strides[1:], strict=False)
        )
        self.readout = nn.ParameterList(nn.Parameter(torch.empty(width)) for width in self.widths)
        self._begin()

    def _begin(self) -> None:
        """Start near the identity: rows of W_k sum to about 1/2, kinks are spread over the image's range."""
        for layer in self.direct:
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
        for layer in self.along:
            nn.init.uniform_(layer.weight, 0, 1 / layer.weight[0].numel())
        for weight, block in zip(self.readout, self.blocks, strict=True):
            # The norm of f shall not depend on the number of layers and channels.
            nn.init.uniform_(weight, 0, 2 * block**2 / (len(weight) * len(self.widths)))

    def settings(self) -> dict[str, object]:
        """Plain values from which the same architecture is built again."""
        return {
            "inputs": self.inputs,
            "widths": list(self.widths),
            "strides": list(self.strides),
            "kernel": self.kernel,
            "sharpness": self.sharpness,
            "convexity": self.convexity,
        }

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring W_k and w_k back to values that are not negative, without which psi is not convex."""
        for layer in self.along:
            layer.weight.clamp_(min=0)
        for weight in self.readout:
            weight.clamp_(min=0)

    def potential(self, x: torch.Tensor) -> torch.Tensor:
        """psi of each item of (B, inputs, H, W), shape (B,)."""
        block = self.blocks[-1]
        padded = F.pad(x, (0, -x.shape[-1] % block, 0, -x.shape[-2] % block))
        value = 0.5 * self.convexity * x.square().flatten(1).sum(1)
        z = padded
        for k, (direct, weight) in enumerate(zip(self.direct, self.readout, strict=True)):
            seen = direct(F.pixel_unshuffle(padded, self.blocks[k]))
            if k:
                seen = seen + self.along[k - 1](z)
            z = F.softplus(seen, beta=self.sharpness)
            value = value + z.sum((-2, -1)) @ weight
        return value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """f(x) = grad psi(x), (B, inputs, H, W) to the same.

        It takes derivatives itself, also where they are switched off around it; its own derivatives are there
        when they are switched on and x or the weights ask for them.
        """
        trained = any(weight.requires_grad for weight in self.parameters())
        further = torch.is_grad_enabled() and (x.requires_grad or trained)
        with torch.enable_grad():
            point = x if x.requires_grad and further else x.detach().requires_grad_()
            # Items of a batch do not meet in psi, so the sum's gradient holds each item's own.
            (gradient,) = torch.autograd.grad(self.potential(point).sum(), point, create_graph=further)
        return gradient
