"""A small residual U-Net for images of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

from imagereg.errors import UsageError


class ResidualBlock(nn.Module):
    """x + c2(relu(c1(x))), c1 and c2 convolutions of 3 x 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        # Blocks start as the identity, so that a deep network trains from its first step.
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.second(F.relu(self.first(x), inplace=True))


class UNet(nn.Module):
    """Residual blocks on several scales, joined by strided convolutions and sums across.

    Sums instead of concatenations halve the cost of the way up. There is no normalisation, so that an
    image does not depend on the others of its batch nor a pixel on the size of its image. Images of any
    size are mirrored up to a multiple of the coarsest scale and cropped again.

    Parameters
    ----------
    inputs, outputs : channels of the images.
    widths : channels of each scale, finest first; each scale has half the edge of the one before.
    blocks : residual blocks of a scale, on the way down and on the way up.

    Raises
    ------
    UsageError
        When there is no scale or no block.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox, MICCAI (2015), doi:10.1007/978-3-319-24574-4_28; K. Zhang et al.,
    IEEE Trans. Pattern Anal. Mach. Intell. 44 (2022) 6360, doi:10.1109/TPAMI.2021.3088914 (residual, with
    sums).
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        *,
        widths: Sequence[int] = (24, 48, 96),
        blocks: int = 2,
    ) -> None:
        super().__init__()
        if not widths or blocks < 1:
            raise UsageError(f"UNet(widths={widths}, blocks={blocks}): give a scale and a block at least.")
        self.inputs, self.outputs, self.widths, self.blocks = inputs, outputs, tuple(widths), blocks
        pairs = list(zip(self.widths, self.widths[1:], strict=False))
        self.head = nn.Conv2d(inputs, self.widths[0], 3, padding=1)
        self.down = nn.ModuleList(self._scale(fine) for fine, _ in pairs)
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.middle = self._scale(self.widths[-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(self._scale(fine) for fine, _ in pairs)
        self.tail = nn.Conv2d(self.widths[0], outputs, 3, padding=1)

    def _scale(self, channels: int) -> nn.Sequential:
        return nn.Sequential(*(ResidualBlock(channels) for _ in range(self.blocks)))

    def settings(self) -> dict[str, object]:
        """Plain values from which the same architecture is built again."""
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "widths": list(self.widths),
            "blocks": self.blocks,
        }

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        height, width = x.shape[-2:]
        x = mirrored(x, 2 ** (len(self.widths) - 1))
        return self.decode(self.encode(x))[..., :height, :width].contiguous()

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The way down: what goes across at each scale, finest first, and the coarsest features last.

        Parameters
        ----------
        x : (B, inputs, H, W), H and W multiples of the coarsest scale.
        """
        x = self.head(x.contiguous(memory_format=torch.channels_last))
        code = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            x = blocks(x)
            code.append(x)
            x = shrink(x)
        return [*code, self.middle(x)]

    def decode(self, code: Sequence[torch.Tensor]) -> torch.Tensor:
        """The way up, from what `encode` gives to (B, outputs, H, W)."""
        x = code[-1]
        for blocks, grow, across in zip(
            reversed(self.up), reversed(self.grow), reversed(code[:-1]), strict=True
        ):
            x = blocks(grow(x) + across)
        return self.tail(x)


def mirrored(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """The image extended at its bottom and right by reflection until its edges are multiples.

    Images narrower than what is added are extended by their last row or column instead.

    Parameters
    ----------
    x : (B, C, H, W).
    """
    below, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    if not below and not right:
        return x
    reflects = below < x.shape[-2] and right < x.shape[-1]
    return F.pad(x, (0, right, 0, below), mode="reflect" if reflects else "replicate")
