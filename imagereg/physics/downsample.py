"""Downsampling: pixels of a coarse image that lie in the middle of blocks of the fine one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from deepinv.physics import LinearPhysics
from numpy.typing import ArrayLike

from imagereg.errors import UsageError, did_you_mean
from imagereg.physics.blurring import as_kernel
from imagereg.physics.certificate import Certified
from imagereg.physics.convolution import BORDERS, convolve, correlate, extend, fold
from imagereg.physics.noise import as_deepinv

_KERNELS = ("mean", "gaussian", "bicubic")


class Downsampling(Certified, LinearPhysics):
    """y = S (k * x): every factor-th pixel of a filtered image, (B, C, f H, f W) to (B, C, H, W), or 3-D.

    Pixel i of the result lies in the middle of block [f i, f i + f - 1] of the image, so that both show the
    same scene in the same place; the kernel's size has the parity of f for that. deepinv's `Downsampling`
    samples the first pixel of each block, which moves the scene by (f - 1) / 2 pixels with an odd kernel.
    """

    kernel: torch.Tensor

    def __init__(
        self,
        image_shape: tuple[int, ...],
        factor: int,
        kernel: torch.Tensor,
        border: str,
        noise: Any = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(noise_model=as_deepinv(noise), device=device, img_size=(1, *image_shape))
        self.register_buffer("kernel", kernel.to(device))
        self.image_shape, self.factor, self.border = image_shape, factor, border

    @property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """Pixels (before, after) by which each axis is continued."""
        return tuple(((n - self.factor) // 2,) * 2 for n in self.kernel.shape)

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """Coarse images."""
        self._check(x, self.image_shape, "images")
        return convolve(extend(x, self.widths, self.border), self.kernel.to(x.dtype), self.factor)

    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """The transpose of `A`."""
        self._check(y, tuple(n // self.factor for n in self.image_shape), "data")
        size = torch.Size(n + sum(w) for n, w in zip(self.image_shape, self.widths, strict=True))
        return fold(correlate(y, self.kernel.to(y.dtype), size, self.factor), self.widths, self.border)

    def example(self) -> torch.Tensor:
        """Zeros in the shape of a fine image."""
        return torch.zeros(1, 1, *self.image_shape, dtype=self.kernel.dtype, device=self.kernel.device)

    def _check(self, image: torch.Tensor, wanted: tuple[int, ...], what: str) -> None:
        if image.shape[2:] != wanted:
            raise UsageError(
                f"downsampling: {what} of shape {tuple(image.shape)} where (B, C, *{wanted}) is wanted."
            )


def downsampling(
    image_shape: Sequence[int],
    factor: int,
    *,
    kernel: Literal["mean", "gaussian", "bicubic"] | ArrayLike | torch.Tensor = "mean",
    border: Literal["reflect", "symmetric", "nearest", "periodic", "zero"] = "symmetric",
    noise: Any = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Downsampling:
    """The physics of an image seen by a coarser detector (super-resolution; see `Downsampling`).

    Parameters
    ----------
    image_shape : (H, W) or (D, H, W) of the fine image, multiples of the factor.
    factor : pixels of the fine image along an edge of a coarse one.
    kernel : 'mean' of each block (what a binning detector does); 'gaussian' of standard deviation
        factor / 2; 'bicubic' (Keys' cubic with a = -1/2, stretched by the factor); or values (h, w) or
        (d, h, w) of sizes at least the factor, odd where it is odd and even where it is even.
    border : what lies beyond the image (see `blur`).
    noise : a noise model of ours or deepinv's.
    device, dtype : where and in what the kernel is held.

    Raises
    ------
    UsageError
        When the shape is no multiple of the factor, or the kernel does not fit it.

    References
    ----------
    R. G. Keys, IEEE Trans. ASSP 29 (1981) 1153, doi:10.1109/TASSP.1981.1163711 (the cubic).
    """
    shape = tuple(int(n) for n in image_shape)
    if int(factor) != factor or factor < 1:
        raise UsageError(f"downsampling(factor={factor}): give a whole number of at least 1.")
    factor = int(factor)
    if len(shape) not in (2, 3) or any(n < factor or n % factor for n in shape):
        raise UsageError(
            f"downsampling(image_shape={shape}, factor={factor}): give (H, W) or (D, H, W), multiples of "
            "the factor."
        )
    if border not in BORDERS:
        raise UsageError(
            f"downsampling(border={border!r}): no such border{did_you_mean(str(border), BORDERS)}."
        )
    if isinstance(kernel, str):
        if kernel not in _KERNELS:
            raise UsageError(
                f"downsampling(kernel={kernel!r}): no such kernel{did_you_mean(kernel, _KERNELS)}."
            )
        axis = _axis(kernel, factor)
        product = axis
        for _ in shape[1:]:
            product = product[..., None] * axis
        held = product.to(dtype)
    else:
        held = as_kernel(kernel, "downsampling", dtype)
    if held.ndim != len(shape) or any(n < factor or (n - factor) % 2 for n in held.shape):
        raise UsageError(
            f"downsampling(kernel=...): a kernel of {tuple(held.shape)} does not sit in the middle of "
            f"blocks of {factor}; give sizes of {factor}, {factor + 2}, {factor + 4}, ... along each axis."
        )
    return Downsampling(shape, factor, held, border, noise, device)


def _axis(kernel: str, factor: int) -> torch.Tensor:
    """One axis of a named kernel, summing to one."""
    if kernel == "mean":
        return torch.full((factor,), 1 / factor, dtype=torch.float64)
    half = factor * (2 if kernel == "bicubic" else 3)
    size = 2 * half + factor % 2
    at = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) / factor
    t = at.abs()
    if kernel == "gaussian":
        values = torch.exp(-2 * t**2)
    else:
        near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        values = torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))
    return values / values.sum()
