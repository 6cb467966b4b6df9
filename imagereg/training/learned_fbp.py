"""What the network of `learned_fbp` learns: scenes from their filtered back-projections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imagereg.errors import UsageError
from imagereg.geometry import FanBeam, Geometry, ParallelBeam, Volume
from imagereg.networks.reconstructor import grey_scale
from imagereg.networks.unet import UNet
from imagereg.phantoms import ellipses_and_lines, foam
from imagereg.physics.projection import Tomography
from imagereg.projectors.base import projector
from imagereg.training.painted import painted
from imagereg.training.squares import draw, square_of


@dataclass(frozen=True)
class Scans:
    """Ranges from which the scans of a training are drawn.

    Parameters
    ----------
    size : edge of the images in pixels.
    views : least and largest number of views, log-uniform.
    noise : least and largest relative norm of white noise, log-uniform.
    fan : fraction of the scans that have a fan beam.
    pictures : (H, W) in [0, 1] each, whose parts of `size` are scanned; generated scenes where
        there are none.
    """

    size: int = 256
    views: tuple[int, int] = (40, 200)
    noise: tuple[float, float] = (0.002, 0.05)
    fan: float = 0.4
    pictures: tuple[torch.Tensor, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        small = min((min(picture.shape) for picture in self.pictures), default=self.size)
        if small < self.size:
            raise UsageError(f"the smallest picture has {small} pixels; give at least {self.size}, or size=.")

    def geometry(self, random: np.random.Generator) -> Geometry:
        """A parallel or fan beam over 180 degrees (fans also 360) that sees the whole image or its disc."""
        views = round(math.exp(random.uniform(*np.log(self.views))))
        columns = round(self.size * random.uniform(1.0, 1.5))
        if random.random() >= self.fan:
            return ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), columns, pixel=1.0)
        arc = np.pi if random.random() < 0.5 else 2 * np.pi
        origin = self.size * random.uniform(2, 8)
        detector = origin * random.uniform(1.1, 1.5)
        pixel = detector / origin * self.size * random.uniform(1.05, 1.45) / columns
        angles = np.linspace(0, arc, views, endpoint=False)
        return FanBeam(angles, columns, pixel=pixel, source_origin=origin, source_detector=detector)

    def scene(self, random: np.random.Generator) -> NDArray[np.float32]:
        """A picture in [0, 1]: mostly painted bodies, also bodies that add up, and foam."""
        if self.pictures:
            picture = self.pictures[int(random.integers(len(self.pictures)))]
            top, left = (int(random.integers(edge - self.size + 1)) for edge in picture.shape)
            return picture[top : top + self.size, left : left + self.size].numpy()
        kind, seed = random.random(), int(random.integers(2**31))
        if kind < 0.7:
            return painted(self.size, random)
        if kind < 0.9:
            return ellipses_and_lines(self.size, seed=seed, supersampling=2)
        return foam(self.size, seed=seed, supersampling=2, bubbles=int(random.integers(20, 120)))

    def pairs(self, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Filtered back-projections and truths, (count, 1, H, W) each, of `count` scenes in one geometry.

        Both are divided by the back-projections' own grey scale (see `grey_scale`).
        """
        random = np.random.default_rng(seed)
        truth = torch.from_numpy(np.stack([self.scene(random) for _ in range(count)]))[:, None].float()
        geometry, volume = self.geometry(random), Volume((self.size, self.size))
        physics = Tomography(geometry, volume, projector(geometry, volume))
        data = physics.A(truth)
        low, high = (math.log(level) for level in self.noise)
        levels = np.exp(random.uniform(low, high, count)).reshape(-1, 1, 1, 1)
        noise = torch.from_numpy(random.standard_normal(data.shape)).float()
        norms = data.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
        data = data + noise * norms.reshape(-1, 1, 1, 1) * torch.from_numpy(levels).float()
        back = physics.fbp(data)
        scale = grey_scale(back)
        return back / scale, truth / scale


class LearnedFBP:
    """Elastic loss a |e|^2 / N + (1 - a) |D e|^2 / N of e = network(FBP) - truth, D being differences.

    Parameters
    ----------
    network : the U-Net that is trained; a new one where not given.
    scans : what is drawn from.
    stacks : geometries that are simulated before training, of 32 images each.
    crop : edge of the squares that a step sees.
    alpha : a, weight of the image against its gradient.
    seed : of scenes and scans; validation uses others.

    References
    ----------
    E. Morotti, D. Evangelista, A. Sebastiani, E. Loli Piccolomini, 2025, arXiv:2501.09845 (the loss).
    """

    def __init__(
        self,
        network: UNet | None = None,
        *,
        scans: Scans | None = None,
        stacks: int = 48,
        crop: int = 128,
        alpha: float = 0.5,
        seed: int = 0,
    ) -> None:
        scans = scans or Scans()
        self.network: nn.Module = network or UNet(widths=(32, 48, 96, 128), blocks=1)
        self.crop, self.alpha = min(crop, scans.size), alpha
        made = [scans.pairs(32, 1000 * seed + number + 8) for number in range(stacks)]
        # Half precision keeps more stacks in memory; its rounding is far below the noise.
        self._back = torch.cat([back for back, _ in made]).half()
        self._truth = torch.cat([truth for _, truth in made]).half()
        held = [scans.pairs(4, 1000 * seed + number) for number in range(4)]
        self._held = [torch.cat([pair[i] for pair in held]) for i in (0, 1)]

    def batch(self, generator: torch.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops of back-projections and truths, turned and mirrored."""
        parts = []
        for _ in range(size):
            item = draw(len(self._back), generator)
            pair = torch.cat((self._back[item], self._truth[item]))
            parts.append(square_of(pair, self.crop, generator).float())
        pairs = torch.stack(parts)
        device = next(self.network.parameters()).device
        return pairs[:, :1].to(device), pairs[:, 1:].to(device)

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """The elastic loss of a batch."""
        back, truth = batch
        error = back + network(back).float() - truth
        down, right = error.diff(dim=-2).square().mean(), error.diff(dim=-1).square().mean()
        return self.alpha * error.square().mean() + (1 - self.alpha) * (down + right)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """PSNR over all images of scans that are not trained on, and the first one reconstructed."""
        back, truth = self._held
        device = next(network.parameters()).device
        found = (back.to(device) + network(back.to(device)).float()).clamp_min(0).cpu()
        peak = truth.amax((-2, -1), keepdim=True).clamp_min(1e-6)
        errors = ((found - truth) / peak).square().mean((-3, -2, -1))
        before = ((back.clamp_min(0) - truth) / peak).square().mean((-3, -2, -1))
        figures = {
            "psnr": float(-10 * errors.log10().mean()),
            "psnr_fbp": float(-10 * before.log10().mean()),
        }
        return figures, found[:1]
