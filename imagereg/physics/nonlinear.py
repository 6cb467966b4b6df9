"""Physics that are not linear: detectors that saturate, and magnitudes without phases."""

from __future__ import annotations

import math
from typing import Any

import torch
from deepinv.optim.linear import least_squares
from deepinv.physics import LinearPhysics, Physics

from imagereg.errors import UsageError
from imagereg.physics.mask import identity
from imagereg.physics.noise import as_deepinv


class Saturation(Physics):
    """y = min(max(gain B x + offset, low), high): what a detector of small range shows of B x.

    With B the identity it is the clipping of a high dynamic range; with a blur, that of overexposed points.
    The derivative is 0 where y is clipped.

    Parameters
    ----------
    inner : B, a linear physics; the identity where not given.
    gain, offset : the detector's response, gain above 0.
    low, high : its range.
    noise : a noise model of ours or deepinv's.

    Raises
    ------
    UsageError
        When the gain is not positive, the range empty, or B not linear.
    """

    def __init__(
        self,
        inner: LinearPhysics | None = None,
        *,
        gain: float = 2.0,
        offset: float = -0.5,
        low: float = 0.0,
        high: float = 1.0,
        noise: Any = None,
    ) -> None:
        if not gain > 0 or not high > low:
            raise UsageError(
                f"Saturation(gain={gain}, low={low}, high={high}): give a gain above 0 and low < high."
            )
        if inner is not None and not isinstance(inner, LinearPhysics):
            raise UsageError(
                f"Saturation({type(inner).__name__}): what comes before clipping must be linear."
            )
        super().__init__(noise_model=as_deepinv(noise))
        self.inner = identity() if inner is None else inner
        self.gain, self.offset, self.low, self.high = float(gain), float(offset), float(low), float(high)

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """(B, C, ...) images to clipped data in the shape of B x."""
        return (self.gain * self.inner.A(x) + self.offset).clamp(self.low, self.high)

    def A_vjp(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """J^T v = gain B^T (v where A x is not clipped)."""
        value = self.gain * self.inner.A(x) + self.offset
        inside = (value > self.low) & (value < self.high)
        return self.gain * self.inner.A_adjoint(torch.where(inside, v, 0.0))

    def A_dagger(self, y: torch.Tensor, **_: Any) -> torch.Tensor:
        """B^+ ((y - offset) / gain) by five steps of conjugate gradients, so that noise stays small."""
        flat = (y - self.offset) / self.gain
        inner = self.inner
        return least_squares(
            inner.A, inner.A_adjoint, flat, parallel_dim=[0], max_iter=5, tol=1e-6, solver="lsqr"
        )


class PhaseRetrieval(Physics):
    """y = |F P x|, F the orthonormal Fourier transform and P zeros around the image.

    Images turned by 180 degrees give the same data, and so do images moved within the zeros.

    Parameters
    ----------
    image_shape : (H, W).
    oversampling : edge of the extended image over that of the image; at least 2 for a unique answer.
    noise : a noise model of ours or deepinv's.

    Raises
    ------
    UsageError
        When the shape is not of two axes or the oversampling below 1.

    References
    ----------
    J. Fienup, Appl. Opt. 21 (1982) 2758, doi:10.1364/AO.21.002758.
    """

    def __init__(
        self,
        image_shape: tuple[int, int],
        *,
        oversampling: float = 2.0,
        noise: Any = None,
    ) -> None:
        if len(image_shape) != 2 or min(image_shape) < 1 or not oversampling >= 1:
            raise UsageError(
                f"PhaseRetrieval({tuple(image_shape)}, oversampling={oversampling}): give (H, W) and an "
                "oversampling of at least 1."
            )
        super().__init__(noise_model=as_deepinv(noise))
        self.image_shape = (int(image_shape[0]), int(image_shape[1]))
        self.extended = tuple(math.ceil(oversampling * n) for n in self.image_shape)

    def A(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """(B, C, H, W) to magnitudes of the extended shape."""
        return self._spectrum(x).abs()

    def A_vjp(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """J^T v = Re P^T F^H (v F P x / |F P x|), 0 where the magnitude is."""
        return self._crop(torch.fft.ifft2(v * torch.sgn(self._spectrum(x)), norm="ortho").real)

    def A_dagger(
        self, y: torch.Tensor, *, iterations: int = 300, restarts: int = 4, seed: int = 0, **_: Any
    ) -> torch.Tensor:
        """Fienup's hybrid input-output with positive images inside the zeros, the best of some restarts.

        Parameters
        ----------
        iterations : of each restart; the last tenth are of error reduction.
        restarts, seed : number of random phases, and their seed.
        """
        generator = torch.Generator().manual_seed(seed)
        best, least = None, None
        for _restart in range(restarts):
            phase = torch.rand(y.shape, generator=generator).to(y) * 2 * torch.pi
            wide = torch.fft.ifft2(torch.polar(y, phase), norm="ortho").real
            for number in range(iterations):
                fitted = torch.fft.ifft2(y * torch.sgn(torch.fft.fft2(wide)), norm="ortho").real
                kept = self._extend(self._crop(fitted).clamp_min(0))
                damped = torch.where(kept == 0, wide - 0.9 * fitted, kept)
                wide = damped if number < 0.9 * iterations else kept
            image = self._crop(wide).clamp_min(0)
            error = (self.A(image) - y).square().flatten(1).sum(1).reshape(-1, 1, 1, 1)
            if best is None or least is None:
                best, least = image, error
            else:
                best, least = torch.where(error < least, image, best), torch.minimum(error, least)
        assert best is not None
        return best

    def _spectrum(self, x: torch.Tensor) -> torch.Tensor:
        if tuple(x.shape[-2:]) != self.image_shape:
            raise UsageError(
                f"PhaseRetrieval: images of {tuple(x.shape)} where {self.image_shape} is wanted."
            )
        return torch.fft.fft2(self._extend(x), norm="ortho")

    def _extend(self, x: torch.Tensor) -> torch.Tensor:
        below, right = (e - n for e, n in zip(self.extended, self.image_shape, strict=True))
        return torch.nn.functional.pad(x, (0, right, 0, below))

    def _crop(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., : self.image_shape[0], : self.image_shape[1]]
