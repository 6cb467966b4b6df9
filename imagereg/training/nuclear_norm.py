"""A denoiser from noisy images alone, held back by the nuclear norm of its Jacobian."""

from __future__ import annotations

import torch
from torch import nn

from imagereg.networks.unet import UNet, mirrored
from imagereg.training.squares import draw, squares_of


class NuclearNorm:
    """min over f = g o h of E 1/2 |f(y) - y|^2 + eta/2 (|J_g|_F^2 + |J_h|_F^2), eta = sigma^2.

    Over all ways to write f as g o h, half the sum of the squared norms is least at the nuclear norm |J_f|_*.
    h is the way down of a U-Net with all that goes across, g the way up. The norms come from differences,
    |J_h|_F^2 = E |h(y + s e) - h(y)|^2 / s^2 with white e, one draw for each. For a linear f the optimum is
    the Wiener filter: singular values 1 - sigma^2 / l, l those of the covariance of y, cut at zero.

    Images are in units of the noise (sigma = 1), so that eta = 1.

    Parameters
    ----------
    noisy : (B, C, H, W) over the noise's standard deviation; channels are taken one by one.
    network : trained in place; a new one where not given.
    crop : edge of the squares of a step.
    eta : weight of the norms, in units of the noise's variance.
    step : s. Single precision loses the differences of smaller ones.

    References
    ----------
    C. Scarvelis, J. Solomon, NeurIPS (2024), arXiv:2405.14544.
    """

    def __init__(
        self,
        noisy: torch.Tensor,
        network: UNet | None = None,
        *,
        crop: int = 64,
        eta: float = 1.0,
        step: float = 0.05,
    ) -> None:
        self.network: nn.Module = network or UNet(widths=(24, 48, 96), blocks=1)
        self._noisy = noisy.reshape(-1, *noisy.shape[-2:]).float()
        self._noisy = self._noisy - self._noisy.mean((-2, -1), keepdim=True)
        self.crop, self.eta, self._step = min(crop, *noisy.shape[-2:]), eta, step
        generator = torch.Generator().manual_seed(2**31)
        self._held = self.batch(generator, 4)

    def batch(self, generator: torch.Generator, size: int) -> tuple[torch.Tensor, int]:
        """Squares of the noisy images, turned and mirrored, and a seed of the differences."""
        return squares_of(self._noisy, self.crop, size, generator), draw(2**31, generator)

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, int]) -> torch.Tensor:
        """Data term and norms, over the number of pixels."""
        y, seed = batch
        generator = torch.Generator().manual_seed(seed)
        y = mirrored(y, 2 ** (len(network.widths) - 1))  # type: ignore[arg-type]
        code = network.encode(y)  # type: ignore[operator]
        image = network.decode(code)  # type: ignore[operator]
        changed = network.encode(y + self._white(y, generator))  # type: ignore[operator]
        down = sum((b - a).square().sum() for a, b in zip(code, changed, strict=True))
        again = network.decode([part + self._white(part, generator) for part in code])  # type: ignore[operator]
        up = (again - image).square().sum()
        norms = (down + up) / self._step**2
        return (0.5 * (image - y).square().sum() + 0.5 * self.eta * norms) / y.numel()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> tuple[dict[str, float], torch.Tensor]:
        """The loss at fixed squares, and the first of them denoised."""
        return {"held_loss": float(self.loss(network, self._held))}, network(self._held[0][:1])

    def _white(self, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self._step * torch.randn(like.shape, generator=generator).to(like)
