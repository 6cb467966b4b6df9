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


SLACK = 1.05
"""A pass may leave the misfit of the data this much larger than the smallest before: passes that bring images
closer to the truth were seen to raise it by 2 %, such as go astray by 7 % and more."""


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


def reconstruct(
    network: Reconstructor,
    physics: Tomography,
    data: torch.Tensor,
    passes: int,
    *,
    noise: torch.Tensor | None = None,
) -> Iterator[tuple[torch.Tensor, str]]:
    """The images of the passes: x_1 = max(0, v + net_1(v)), x_k+1 = max(0, v + net_2(v, x_k)).

    v = x_k + FBP(y - A x_k), x_0 = 0. The networks see v / s and x / s, s the grey scale of the first v. What
    explains the data to their noise is left as it is. A pass counts only where it leaves A x as close to y as
    the closest before, or nearly (`SLACK`): scans unlike those of the training can lead the second network
    astray, and that shows in the data first.

    Parameters
    ----------
    data : (B, C, ...), line integrals in any unit; items and channels are taken one by one.
    passes : how many images follow one another at most.
    noise : (B, C), expected ||A x - y|| at the true images, where it is known.

    Yields
    ------
    The image so far, and why it is the last; empty where it is not.
    """
    single = (-1, 1, *physics.projector.image_shape)
    image = physics.fbp(data)
    scale = grey_scale(image.reshape(single))
    rest, misfit = data, torch.full(data.shape[:2], torch.inf, dtype=data.dtype, device=data.device)
    least = torch.zeros_like(misfit) if noise is None else noise
    for number in range(1, passes + 1):
        back = image if number == 1 else image + physics.fbp(rest)
        seen = (back.reshape(single) / scale).float()
        found = network(seen) if number == 1 else network(seen, (image.reshape(single) / scale).float())
        new = (scale * found.to(back.dtype)).clamp_min(0).reshape(back.shape)
        left = data - physics.A(new)
        size = left.flatten(2).norm(dim=2)
        counts = (size <= SLACK * misfit) & (misfit > least)
        image, rest = (_chosen(counts, *pair) for pair in ((new, image), (left, rest)))
        misfit = torch.minimum(size, misfit)
        why = ""
        if not counts.any():
            why = f"pass {number} led away from the data"
        elif (misfit <= least).all():
            why = "the data are explained to their noise"
        elif number == passes:
            why = f"{number} iterations"
        yield image, why
        if why:
            return


def _chosen(counts: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Items and channels of the new tensor where it counts, of the old one elsewhere."""
    return torch.where(counts.reshape(*counts.shape, *[1] * (new.ndim - 2)), new, old)
