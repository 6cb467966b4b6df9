"""A network on a filtered back-projection."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)
from torch import nn


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


def reconstruct(network: nn.Module, back: torch.Tensor) -> torch.Tensor:
    """max(0, s (v + network(v))), v = FBP / s, s its grey scale.

    Parameters
    ----------
    network : a network of one channel.
    back : (B, C, H, W), filtered back-projections in any unit; channels are taken one by one.
    """
    single = back.reshape(-1, 1, *back.shape[-2:])
    scale = grey_scale(single)
    scaled = (single / scale).float()
    image = scale * (scaled + network(scaled).float()).to(back.dtype)
    return image.clamp_min(0).reshape(back.shape)
