"""Networks that reconstruct in passes, each on what the last one left unexplained, back-projected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn

from imagereg.networks.unet import UNet

if TYPE_CHECKING:
    from imagereg.physics.projection import Tomography


class Reconstructor(nn.Module):
    """Two U-Nets: one for the filtered back-projection, one for an image and what the data still ask of it.

    The second sees two channels, the image x of the pass before and v = x + FBP(y - A x). Both answer with
    what is to be added to v.

    Parameters
    ----------
    widths, blocks : of each U-Net (see `UNet`).
    """

    def __init__(self, *, widths: Sequence[int] = (32, 48, 96, 128), blocks: int = 1) -> None:
        super().__init__()
        self.first = UNet(1, 1, widths=widths, blocks=blocks)
        self.later = UNet(2, 1, widths=widths, blocks=blocks)

    def settings(self) -> dict[str, object]:
        """Plain values from which the same architecture is built again."""
        return {"widths": list(self.first.widths), "blocks": self.first.blocks}

    def forward(self, back: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
        """v, (B, 1, H, W) in units of its grey scale, and x where there is one, to the next image."""
        if image is None:
            return back + self.first(back).float()
        return back + self.later(torch.cat((back, image), 1)).float()


def grey_scale(image: torch.Tensor) -> torch.Tensor:
    """The unit in which a network sees an image: the largest mean over a tile of 8 x 8 pixels.

    Means over tiles hold little of the noise and of the streaks of few views, which the pixels of a filtered
    back-projection do.

    Parameters
    ----------
    image : (B, C, H, W).

    Returns
    -------
    (B, 1, 1, 1), positive.
    """
    edge = min(8, *image.shape[-2:])
    means = F.avg_pool2d(image.detach(), edge).flatten(1).amax(1)
    return torch.where(means > 0, means, torch.ones_like(means)).reshape(-1, 1, 1, 1)


def updated(physics: Tomography, data: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """v = x + FBP(y - A x): the image with what the data ask of it, and their noise and streaks."""
    return image + physics.fbp(data - physics.A(image))


def reconstruct(
    network: Reconstructor, physics: Tomography, data: torch.Tensor, passes: int
) -> Iterator[torch.Tensor]:
    """The images of the passes: x_1 = max(0, v + net_1(v)), x_k+1 = max(0, v + net_2(v, x_k)).

    v = x_k + FBP(y - A x_k), x_0 = 0. The networks see v / s and x / s, s the grey scale of the first v.

    Parameters
    ----------
    data : (B, C, ...), line integrals in any unit; items and channels are taken one by one.
    passes : how many images follow one another.
    """
    image: torch.Tensor | None = None
    scale = data.new_ones(())
    for _ in range(passes):
        back = physics.fbp(data) if image is None else updated(physics, data, image)
        single = back.reshape(-1, 1, *back.shape[-2:])
        if image is None:
            scale = grey_scale(single)
            found = network((single / scale).float())
        else:
            found = network((single / scale).float(), (image.reshape(single.shape) / scale).float())
        image = (scale * found.to(back.dtype)).clamp_min(0).reshape(back.shape)
        yield image
