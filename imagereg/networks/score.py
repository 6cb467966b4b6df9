"""A network for the score of noisy images, at home with any noise level, scale and offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from imagereg.networks.unet import UNet

LEAST = 1e-6  # of the noise scale, against division by zero in constant images


class ScoreNetwork(nn.Module):
    """s(y) = -net((y - mean y) / t) / t, an estimate of grad log p(y); t is the noise scale of y.

    In units of its own noise, every image looks alike to the network, and the score of a y + b is that of
    y over a, exactly. Neither the noise level nor the range of grey values need be known.

    A network for the images of one measurement is better off with a fixed unit: in squares out of images
    whose dark parts are less noisy than their bright ones, the noise scale says where one is, and the whole
    image then looks like none of its squares.

    Parameters
    ----------
    widths, blocks : of the U-Net inside.
    unit, centre : what stands for t and mean y; each image's own where the unit is not given.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 48, 96, 128),
        blocks: int = 1,
        unit: float | None = None,
        centre: float = 0.0,
    ) -> None:
        super().__init__()
        self.net = UNet(1, 1, widths=widths, blocks=blocks)
        self.unit, self.centre = unit, centre

    def settings(self) -> dict[str, object]:
        """Plain values from which the same architecture is built again."""
        fixed = {} if self.unit is None else {"unit": self.unit, "centre": self.centre}
        return {"widths": list(self.net.widths), "blocks": self.net.blocks, **fixed}

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same; channels are taken one by one."""
        single = y.reshape(-1, 1, *y.shape[-2:]).float()
        if self.unit is None:
            scale, centre = noise_scale(single), single.mean((-2, -1), keepdim=True)
        else:
            scale, centre = single.new_tensor(self.unit), single.new_tensor(self.centre)
        return (-self.net((single - centre) / scale).float() / scale).reshape(y.shape).to(y.dtype)


class Turned(nn.Module):
    """1/8 sum_g g^-1 s(g y), g the turns by quarters and mirrorings of the plane.

    The mean is turned with the image exactly, as the score of images without a preferred direction is. It
    costs eight passes of the network.

    Parameters
    ----------
    network : s.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same."""
        return sum((turned(self.network, y, number) for number in range(8)), torch.zeros_like(y)) / 8


def turned(network: Callable[[torch.Tensor], torch.Tensor], y: torch.Tensor, number: int) -> torch.Tensor:
    """g^-1 s(g y), g the turn or mirroring of the plane of a number modulo 8."""
    turns, mirrored = number % 4, number % 8 >= 4
    there = y.rot90(turns, (-2, -1))
    back = network(there.flip(-1)).flip(-1) if mirrored else network(there)
    return back.rot90(-turns, (-2, -1))


def noise_scale(image: torch.Tensor) -> torch.Tensor:
    """Standard deviation of white noise, by the median of the finest diagonal Haar details.

    Parameters
    ----------
    image : (B, C, H, W), at least 2 x 2.

    Returns
    -------
    (B, C, 1, 1), positive. Fine texture makes it too large; that is harmless where it is a unit.

    References
    ----------
    D. Donoho, I. Johnstone, Biometrika 81 (1994) 425, doi:10.1093/biomet/81.3.425.
    """
    diagonal = image.detach().diff(dim=-2).diff(dim=-1) / 2
    median = diagonal.abs().flatten(-2).median(-1).values / 0.6744897501960817
    spread = image.detach().flatten(-2).std(-1)
    # Where most neighbours are equal, as in images without noise, the median says nothing.
    return torch.maximum(median, 0.01 * spread).clamp_min(LEAST)[..., None, None]
