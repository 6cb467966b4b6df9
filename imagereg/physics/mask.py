"""Images of which pixels are missing, and images of which none is: inpainting and identity."""

from __future__ import annotations

from typing import Any

import deepinv.physics
import torch
from numpy.typing import ArrayLike

from imagereg.errors import UsageError
from imagereg.physics.certificate import Certified
from imagereg.physics.noise import as_deepinv


class Inpainting(Certified, deepinv.physics.Inpainting):
    """y = m x: deepinv's `Inpainting`, which is exact, with a certificate."""

    mask: torch.Tensor

    def example(self) -> torch.Tensor:
        """Zeros in the shape of the mask."""
        return torch.zeros_like(self.mask)


class Identity(Certified, deepinv.physics.Denoising):
    """y = x, the physics of denoising: deepinv's `Denoising`, without noise where none is given."""

    def example(self) -> torch.Tensor:
        """One small image: the identity is the same for all."""
        return torch.zeros(1, 1, 8, 8, device=self._device_holder.device)


def inpainting(
    mask: ArrayLike | torch.Tensor, *, noise: Any = None, device: torch.device | str = "cpu"
) -> Inpainting:
    """The physics of an image of which only some pixels are known: y = m x.

    Parameters
    ----------
    mask : (H, W) or (D, H, W), true where the image is known; (1, C, H, W) for a mask of each channel.
    noise : a noise model of ours or deepinv's; it acts on known pixels only.
    device : where the mask is held.

    Raises
    ------
    UsageError
        When the mask holds anything but 0 and 1, or nothing is known.
    """
    tensor = torch.as_tensor(mask).detach()
    if tensor.ndim not in (2, 3, 4, 5) or (tensor.ndim > 3 and tensor.shape[0] != 1):
        raise UsageError(
            f"inpainting(mask=...): shape {tuple(tensor.shape)}; give (H, W), (D, H, W) or (1, C, H, W)."
        )
    if not bool(((tensor == 0) | (tensor == 1)).all()):
        raise UsageError("inpainting(mask=...): values other than 0 and 1; give a mask, image > threshold.")
    if not bool((tensor != 0).any()):
        raise UsageError("inpainting(mask=...): no pixel is known; give true where the image is known.")
    # Zeros and ones are exact in single precision, and multiply images of any precision as they are.
    held = tensor.to(torch.float32)
    held = held[None, None] if held.ndim < 4 else held
    return Inpainting(
        img_size=tuple(held.shape[1:]), mask=held, noise_model=as_deepinv(noise), device=torch.device(device)
    )


def identity(*, noise: Any = None, device: torch.device | str = "cpu") -> Identity:
    """The physics of an image seen as it is: y = x, for denoising.

    Parameters
    ----------
    noise : a noise model of ours or deepinv's.
    device : where the noise model's parameters are held.
    """
    return Identity(noise_model=as_deepinv(noise), device=torch.device(device))
