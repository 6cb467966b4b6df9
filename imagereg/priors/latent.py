"""Images as what a generator makes of latents whose density is known: priors that live behind a decoder."""

from __future__ import annotations

import torch

from imagereg.fidelities.base import Step
from imagereg.networks.hyperprior import Hyperprior
from imagereg.priors.base import Prior

Latents = tuple[torch.Tensor, ...]
"""(z,) or (z, h), each (B, ...): an item's latents in its own entry, so that items are independent."""


class LatentPrior(Prior):
    """x = D(z) with a density p(z, h) of the latents; p(x) itself has no formula, so that `fn` is None."""

    def encode(self, image: torch.Tensor) -> Latents:
        """Latents from which an image (B, C, ...) is roughly decoded: where a search starts."""
        raise TypeError(f"{type(self).__name__} has no encoder.")

    def complete(self, z: torch.Tensor) -> Latents:
        """z with the h that an encoder gives it."""
        return (z,)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """D(z), (B, C, ...), in the units of the image."""
        raise TypeError(f"{type(self).__name__} has no decoder.")

    def energy(self, latents: Latents) -> torch.Tensor:
        """-log p(z, h) of each item in nats, (B,)."""
        raise TypeError(f"{type(self).__name__} has no density.")


class HyperpriorPrior(LatentPrior):
    """Images x = low + (high - low) D(z), D and p(z | h) p(h) those of a hyperprior autoencoder.

    Volumes count as independent slices. Where image and network differ in their number of channels, each
    channel of the image is one grey picture; a network of colours sees it as grey and its output is averaged.

    Parameters
    ----------
    network : ready to be applied.
    shape : (C, H, W) or (C, D, H, W) of images.
    low, high : grey values that are the network's 0 and 1; numbers, or one an item shaped (B, 1, ...).
    """

    def __init__(
        self, network: Hyperprior, shape: tuple[int, ...], *, low: Step = 0.0, high: Step = 1.0
    ) -> None:
        self.network, self.shape = network, tuple(shape)
        self.low, self.high = low, high
        self._together = shape[0] == network.channels

    @property
    def planes(self) -> int:
        """Pictures that make one image."""
        slices = self.shape[1] if len(self.shape) == 4 else 1
        return slices if self._together else slices * self.shape[0]

    def encode(self, image: torch.Tensor) -> Latents:
        """z (B, planes, M, h, w) and h (B, planes, N, ...)."""
        grey = (image - self.low) / (self.high - self.low)
        z, h = self.network.encode(self._pictures(grey))
        return self._items(z), self._items(h)

    def complete(self, z: torch.Tensor) -> Latents:
        """z and h_a(z)."""
        return z, self._items(self.network.h_a(z.flatten(0, 1)))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """The image of z (B, planes, M, h, w)."""
        pictures = self.network.decode(z.flatten(0, 1), (self.shape[-2], self.shape[-1]))
        grey = self._image(pictures, len(z))
        return self.low + (self.high - self.low) * grey

    def energy(self, latents: Latents) -> torch.Tensor:
        """-log p(z | h) - log p(h) of each item."""
        z, h = (part.flatten(0, 1) for part in latents)
        total = torch.zeros((), dtype=z.dtype, device=z.device)
        for log in self.network.log_prior(z, h):
            total = total - log.reshape(len(latents[0]), -1).sum(1)
        return total

    def _items(self, latent: torch.Tensor) -> torch.Tensor:
        return latent.reshape(-1, self.planes, *latent.shape[1:])

    def _pictures(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, [D], H, W) to (B planes, channels of the network, H, W)."""
        size = image.shape[-2:]
        if self._together:
            return image.movedim(1, -3).reshape(-1, image.shape[1], *size)
        return image.reshape(-1, 1, *size).expand(-1, self.network.channels, -1, -1)

    def _image(self, pictures: torch.Tensor, items: int) -> torch.Tensor:
        """The inverse of `_pictures`."""
        size = pictures.shape[-2:]
        if self._together:
            slices = self.shape[1:-2]
            return pictures.reshape(items, *slices, self.shape[0], *size).movedim(-3, 1)
        return pictures.mean(1).reshape(items, *self.shape)
