"""What the networks of `learned_fbp` learn: scenes from scans of few views, pass by pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imagereg.errors import UsageError
from imagereg.geometry import FanBeam, Geometry, ParallelBeam, Volume
from imagereg.networks.reconstructor import Reconstructor, grey_scale
from imagereg.phantoms import ellipses_and_lines, foam
from imagereg.physics.projection import Tomography
from imagereg.projectors import projector
from imagereg.training.painted import painted
from imagereg.training.squares import draw


@dataclass(frozen=True)
class Simulated:
    """Scans of one geometry, in units of the grey scale of their filtered back-projections.

    Parameters
    ----------
    physics : of all of them.
    data : (count, 1, views, columns), with noise.
    truth : (count, 1, H, W).
    """

    physics: Tomography
    data: torch.Tensor
    truth: torch.Tensor


@dataclass(frozen=True)
class Scans:
    """Ranges from which the scans of a training are drawn.

    To a network that sees some hundred pixels at a time, a scan of 2 n pixels and 2 v views at a noise of p
    is one of n pixels and v views at sqrt(2) p: small images stand for large ones.

    Parameters
    ----------
    size : edge of the images in pixels.
    views : least and largest number of views, log-uniform.
    noise : least and largest relative norm of white noise, log-uniform.
    fan : fraction of the scans that have a fan beam.
    pictures : (H, W) in [0, 1] each, whose parts of `size` are scanned; generated scenes where
        there are none.
    """

    size: int = 128
    views: tuple[int, int] = (20, 120)
    noise: tuple[float, float] = (0.002, 0.12)
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

    def simulated(self, count: int, seed: int) -> Simulated:
        """Scans of `count` scenes in one geometry."""
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
        scale = grey_scale(physics.fbp(data))
        return Simulated(physics, data / scale, truth / scale)


class LearnedFBP:
    """Elastic loss a |e|^2 / N + (1 - a) |D e|^2 / N of e = x_k - truth after each pass, D being differences.

    Each pass starts from where the networks, as they are at that step, got to with the one before. No
    gradient passes from one to the other, so that a pass does well for itself and none is needed after it.

    Parameters
    ----------
    network : the networks that are trained; new ones where not given.
    scans : what is drawn from.
    stacks : geometries that are simulated before training, of 32 images each.
    passes : that are trained.
    alpha : a, weight of the image against its gradient.
    seed : of scenes and scans; validation uses others.

    References
    ----------
    E. Morotti, D. Evangelista, A. Sebastiani, E. Loli Piccolomini, 2025, arXiv:2501.09845 (the loss);
    A. Hauptmann et al., IEEE Trans. Med. Imaging 37 (2018) 1382, doi:10.1109/TMI.2018.2820382 (the passes).
    """

    def __init__(
        self,
        network: Reconstructor | None = None,
        *,
        scans: Scans | None = None,
        stacks: int = 64,
        passes: int = 3,
        alpha: float = 0.5,
        seed: int = 0,
    ) -> None:
        scans = scans or Scans()
        self.network: nn.Module = network or Reconstructor()
        self.scans, self.passes, self.alpha = scans, passes, alpha
        self._stacks = [scans.simulated(32, 1000 * seed + number + 8) for number in range(stacks)]
        self._held = [scans.simulated(4, 1000 * seed + number) for number in range(4)]

    def facts(self) -> dict[str, float]:
        """What the method must know of the training: how many views of how large images."""
        least, most = self.scans.views
        return {"size": self.scans.size, "least_views": least, "most_views": most}

    def batch(self, generator: torch.Generator, size: int) -> list[Simulated]:
        """One scan each of `size` geometries."""
        found = []
        for _ in range(size):
            stack = self._stacks[draw(len(self._stacks), generator)]
            item = draw(len(stack.truth), generator)
            found.append(Simulated(stack.physics, stack.data[item : item + 1], stack.truth[item : item + 1]))
        return found

    def loss(self, network: nn.Module, batch: list[Simulated]) -> torch.Tensor:
        """The elastic loss of a batch, a mean over the passes."""
        truth = torch.cat([scan.truth for scan in batch]).to(next(network.parameters()).device)
        total = truth.new_zeros(())
        for found in self._passes(network, batch):
            error = found - truth
            down, right = error.diff(dim=-2).square().mean(), error.diff(dim=-1).square().mean()
            total = total + self.alpha * error.square().mean() + (1 - self.alpha) * (down + right)
        return total / self.passes

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """PSNR after each pass, over scans that are not trained on, and the first one reconstructed."""
        figures: dict[str, list[torch.Tensor]] = {}
        for held in self._held:
            back = held.physics.fbp(held.data)
            figures.setdefault("psnr_fbp", []).append(_psnr(back, held.truth))
            for number, found in enumerate(self._passes(network, [held]), 1):
                name = "psnr" if number == self.passes else f"psnr_pass_{number}"
                figures.setdefault(name, []).append(_psnr(found.cpu(), held.truth))
            if held is self._held[0]:
                first = found[:1].clamp_min(0).cpu()
        return {name: float(torch.cat(values).mean()) for name, values in figures.items()}, first

    def _passes(self, network: nn.Module, batch: list[Simulated]) -> Iterator[torch.Tensor]:
        """What the network says after each pass, before it is clamped, for all scans of a batch."""
        device = next(network.parameters()).device
        images: torch.Tensor | None = None
        for _ in range(self.passes):
            if images is None:
                back = torch.cat([scan.physics.fbp(scan.data) for scan in batch])
                found = network(back.to(device))
            else:
                parts = images.cpu().split([len(scan.data) for scan in batch])
                pairs = zip(batch, parts, strict=True)
                back = torch.cat([x + s.physics.fbp(s.data - s.physics.A(x)) for s, x in pairs])
                found = network(back.to(device), images)
            images = found.detach().clamp_min(0)
            yield found


def _psnr(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """PSNR of each item over its own peak, (B,)."""
    peak = truth.amax((-2, -1), keepdim=True).clamp_min(1e-6)
    errors = ((found.clamp_min(0) - truth) / peak).square().mean((-3, -2, -1))
    return -10 * errors.log10()
