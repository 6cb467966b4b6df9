"""Blur: convolution with a point-spread function, with a choice of what lies beyond the borders."""

from __future__ import annotations

from typing import Any, Literal

import torch
from deepinv.physics import LinearPhysics
from numpy.typing import ArrayLike

from imagereg.errors import UsageError, did_you_mean
from imagereg.physics.certificate import Certified
from imagereg.physics.convolution import BORDERS, convolve, correlate, extend, fold
from imagereg.physics.noise import as_deepinv


class Blur(Certified, LinearPhysics):
    """y = k * x, (B, C, H, W) or (B, C, D, H, W), the same kernel for every item and channel.

    y[i] = sum_j k[j] x~[i + c - j] with c = n // 2 the middle of the kernel and x~ the
    image continued beyond its borders. Small kernels are applied directly, large ones by FFT on the
    continued image. The adjoint is the exact transpose: correlation, then what lies beyond the borders
    folded back to where it came from.

    deepinv's `Blur` has neither a half-sample border nor kernels wider than the image, and for kernels one
    pixel wide along an axis (horizontal motion) its adjoint raises or is not the transpose.
    """

    kernel: torch.Tensor

    def __init__(
        self, kernel: torch.Tensor, border: str, noise: Any = None, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(noise_model=as_deepinv(noise), device=device)
        self.register_buffer("kernel", kernel.to(device))
        self.border = border
        self._seen: tuple[int, ...] | None = None

    @property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """Pixels (before, after) by which each axis is continued."""
        if self.border == "valid":
            return ((0, 0),) * self.kernel.ndim
        return tuple(((n - 1) // 2, n // 2) for n in self.kernel.shape)

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """Blurred images; 'valid' borders give n - n_k + 1 pixels along an axis, the others n."""
        self._check(x)
        self._seen = (1, *x.shape[1:])
        return convolve(extend(x, self.widths, self.border), self.kernel.to(x.dtype))

    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """The transpose of `A`."""
        self._check(y, grown=self.border == "valid")
        kernel = self.kernel.to(y.dtype)
        size = torch.Size(n + k - 1 for n, k in zip(y.shape[2:], kernel.shape, strict=True))
        return fold(correlate(y, kernel, size), self.widths, self.border)

    def example(self) -> torch.Tensor:
        """Zeros in the shape of the images last blurred."""
        if self._seen is None:
            return super().example()
        return torch.zeros(self._seen, dtype=self.kernel.dtype, device=self.kernel.device)

    def _check(self, image: torch.Tensor, *, grown: bool = False) -> None:
        """Refuse what would end in a complaint about a convolution's internals."""
        kernel = tuple(self.kernel.shape)
        if image.ndim != len(kernel) + 2:
            wanted = "(B, C, H, W)" if len(kernel) == 2 else "(B, C, D, H, W)"
            raise UsageError(
                f"blur: a kernel of {kernel} takes images {wanted} and these have shape {tuple(image.shape)}."
            )
        if (
            self.border == "valid"
            and not grown
            and any(n < k for n, k in zip(image.shape[2:], kernel, strict=True))
        ):
            raise UsageError(
                f"blur(border='valid'): images of {tuple(image.shape[2:])} are smaller than the kernel "
                f"{kernel}; take another border."
            )


def blur(
    kernel: ArrayLike | torch.Tensor,
    *,
    border: Literal["reflect", "symmetric", "nearest", "periodic", "zero", "valid"] = "reflect",
    noise: Any = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Blur:
    """The physics of an image seen through a point-spread function (see `Blur`).

    Parameters
    ----------
    kernel : (h, w), or (d, h, w) for volumes; deepinv's (1, 1, ...) is taken too. Its values are used as
        they are: a point-spread function sums to one. `gaussian_kernel`, `disc_kernel` and
        `motion_kernel` make such.
    border : what lies beyond the image abcd: 'reflect' cb|abcd|cb, 'symmetric' ba|abcd|dc, 'nearest'
        aa|abcd|dd, 'periodic' cd|abcd|ab, 'zero' 00|abcd|00; or 'valid', which keeps only the pixels
        that need nothing beyond.
    noise : a noise model of ours or deepinv's.
    device, dtype : where and in what the kernel is held; images may be of any real dtype.

    Raises
    ------
    UsageError
        When the border is unknown, or the kernel is empty, not finite, or not of two or three axes.
    """
    known = (*BORDERS, "valid")
    if border not in known:
        raise UsageError(f"blur(border={border!r}): no such border{did_you_mean(str(border), known)}.")
    return Blur(as_kernel(kernel, "blur", dtype), border, noise, device)


def as_kernel(kernel: ArrayLike | torch.Tensor, who: str, dtype: torch.dtype) -> torch.Tensor:
    """A kernel as a tensor of two or three axes.

    Raises
    ------
    UsageError
        When it is empty, not finite, or of another number of axes.
    """
    tensor = torch.as_tensor(kernel).detach().to(dtype)
    if tensor.ndim in (4, 5) and tensor.shape[:2] == (1, 1):
        tensor = tensor[0, 0]
    if tensor.ndim not in (2, 3) or tensor.numel() == 0:
        raise UsageError(
            f"{who}(kernel=...): shape {tuple(tensor.shape)}; give a kernel (h, w) or (d, h, w)."
        )
    if not bool(torch.isfinite(tensor).all()):
        raise UsageError(f"{who}(kernel=...): some values are not finite; give finite numbers.")
    return tensor
