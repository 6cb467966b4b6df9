"""How large the error of each datum is: from the noise model, or estimated from the data themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name that torch's users know)

from imagereg.errors import UsageError
from imagereg.physics.distributed import summed

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

HIGH_PASS = (-0.12940952255126034, -0.22414386804201339, 0.8365163037378079, -0.48296291314453416)
"""Daubechies' filter with two vanishing moments: blind to lines, of length one for white noise."""


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """Standard deviation of each datum, and how it is known.

    Attributes
    ----------
    std : in a shape that broadcasts against the data.
    how : one clause for people.
    estimated : True where it came from the data and not from a model.
    model : the noise model, where there is one.
    """

    std: torch.Tensor
    how: str
    estimated: bool
    model: Any = None

    def at(self, clean: torch.Tensor) -> NoiseLevel:
        """The level that the model gives where `clean` are the data without noise.

        Counts that fell low by chance look more certain than they are; the variance at the fit does not
        share their error. A tenth of the variance at the data is the least.
        """
        if self.model is None or not hasattr(self.model, "variance"):
            return self
        variance = torch.maximum(self.model.variance(clean), 0.1 * self.std.square())
        return replace(self, std=variance.sqrt())

    def whiten(self, residual: torch.Tensor) -> torch.Tensor:
        """Residual over standard deviation."""
        return residual / self.std

    def chi_square(self, residual: torch.Tensor) -> float:
        """sum |residual / std|^2, which is the number of data where the residual is noise."""
        return float(self.whiten(residual).abs().square().double().sum())

    def norm(self, like: torch.Tensor) -> float:
        """Expected ||noise||_2 of data in the shape of `like`."""
        return float((self.std.double().square() * torch.ones_like(like.abs())).sum().sqrt())

    def norms(
        self, like: torch.Tensor, *, axes: int = 1, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Expected ||noise||_2, in the norm that weights make, over all but the first `axes` axes."""
        variance = self.std.square() * torch.ones_like(like)
        if weights is not None:
            variance = variance * weights
        return variance.double().flatten(axes).sum(axes).sqrt()


def noise_level(measurement: Measurement) -> NoiseLevel:
    """What is known of the noise of a measurement that is ready.

    The noise model where there is one. Else the weights, which fix the variance up to a factor, or equal
    variance; that factor is taken from the data where they are quietest (see `estimate`). It is right for
    noise that differs from pixel to pixel; noise that a detector or a filter has smeared is underestimated.

    Raises
    ------
    UsageError
        When the data are a list, show no noise, or are too small to estimate from.
    """
    data, noise = measurement.data, measurement.noise
    if not isinstance(data, torch.Tensor):
        raise UsageError("the noise of data that are a list of tensors is not known; choose by held_out.")
    if noise is not None and hasattr(noise, "weights"):
        return NoiseLevel(noise.weights(data).reciprocal().sqrt(), f"noise model {noise}", False, noise)
    sigma = getattr(noise, "sigma", None)
    if sigma is not None:
        std = torch.as_tensor(sigma, dtype=data.abs().dtype, device=data.device)
        return NoiseLevel(std.reshape(-1, *[1] * (data.ndim - 1)), f"noise model {noise}", False)
    if noise is not None:
        raise UsageError(f"noise {noise}: its variance is not known; choose by held_out, which needs none.")
    relative = None if measurement.weights is None else measurement.weights.clamp_min(1e-12).rsqrt()
    coupled = measurement.geometry is not None and data.ndim == 5
    factor = _of_rows(data, relative) if coupled else estimate(data, relative)
    if not bool((factor > 0).any()):
        raise UsageError(
            "the data show no noise to estimate (neighbouring values are equal); give a noise model, or "
            "choose by held_out."
        )
    # A blank item among others has no noise of its own; the least of them keeps it from dividing by zero.
    factor = torch.where(factor > 0, factor, factor[factor > 0].min())
    each = factor.to(data.abs().dtype).reshape(-1, *[1] * (data.ndim - 1))
    what = "finest wavelet details where the data are quietest"
    low, high = float(factor.min()), float(factor.max())
    size = f"{low:.4g}" if high <= 1.005 * low else f"{low:.4g} to {high:.4g}"
    if relative is None:
        blanks = _photons(measurement)
        if blanks is not None:
            std = torch.where(blanks > 0, (blanks * data.clamp_min(0).exp()).sqrt(), each)
            how = f"noise of counted photons, {size} in air, told by how it grows with the line integrals"
            return NoiseLevel(std, how, True)
        return NoiseLevel(each, f"noise of {size} estimated from the {what}", True)
    return NoiseLevel(relative * each, f"noise estimated from the weights, scaled by the {what}", True)


def _of_rows(data: torch.Tensor, relative: torch.Tensor | None) -> torch.Tensor:
    """Noise of each coupled volume: the quadratic mean of its rows' own, wherever the rows are held."""
    found = []
    for item in range(data.shape[0]):
        rows = data[item].movedim(-2, 0)
        known = None if relative is None else relative.expand_as(data)[item].movedim(-2, 0)
        squares = estimate(rows, known).square()
        count = summed(squares.new_tensor(float(squares.numel())))
        found.append((summed(squares.sum()) / count).sqrt())
    return torch.stack(found)


def _photons(measurement: Measurement) -> torch.Tensor | None:
    """v of items whose noise grows as that of photons, 0 of others, (B, 1, ..., 1); None where all are 0."""
    from imagereg.noise.photons import photon_variance

    data = measurement.data
    scan = measurement.geometry is not None and measurement.quantity == "line_integrals"
    if not scan or data.ndim == 5 or data.is_complex() or min(data.shape[-2:]) < 32:
        return None
    tiles, count = _tiles(_details(data, HIGH_PASS).square())
    found = photon_variance(data, tiles.reshape(*data.shape[:-2], *tiles.shape[-2:]), 16, _decile(count))
    if all(value is None for value in found):
        return None
    values = torch.tensor([value or 0.0 for value in found], dtype=data.dtype, device=data.device)
    return values.reshape(-1, *[1] * (data.ndim - 1))


def _decile(count: int) -> float:
    """The first decile of chi^2 of so many degrees of freedom, over them (Wilson, Hilferty)."""
    spread = 2.0 / (9.0 * count)
    return (1.0 - spread - 1.2815515655446004 * spread**0.5) ** 3


def estimate(data: torch.Tensor, relative: torch.Tensor | None = None) -> torch.Tensor:
    """Standard deviation of white noise in each item of a batch, in units of `relative` where it varies.

    Tiles of 8 x 8 finest diagonal wavelet coefficients are ranked by their mean square. Edges make most of
    them too large in a sinogram, and with them the median of all coefficients (D. Donoho, I. Johnstone,
    Biometrika 81 (1994) 425, doi 10.1093/biomet/81.3.425); at a tenth from below lie smooth parts and air,
    whose mean square is that of noise alone but for the rank, which is known: it is divided out.

    Parameters
    ----------
    data : (B, C, ..., rows or views, columns).
    relative : standard deviations up to the factor that is returned, in the shape of the data.

    Returns
    -------
    (B,), float64; 0 for an item without any detail.

    Raises
    ------
    UsageError
        For fewer than 16 columns.
    """
    if data.is_complex():
        real, imaginary = (estimate(part, relative) for part in (data.real, data.imag))
        return torch.hypot(real, imaginary)
    if data.shape[-1] < 16:
        raise UsageError(f"{data.shape[-1]} columns are too few to estimate the noise; give a noise model.")
    squares = _details(data, HIGH_PASS).square()
    if relative is not None:
        squares = squares / _details(relative.square().expand_as(data), [tap**2 for tap in HIGH_PASS])
    tiles, count = _tiles(squares)
    levels = []
    for energy in tiles.reshape(data.shape[0], -1).double():
        noisy = energy[energy > 0]  # padding holds no noise
        levels.append(noisy.quantile(0.1) if noisy.numel() else noisy.new_zeros(()))
    return (torch.stack(levels) / _decile(count)).sqrt()


def _details(data: torch.Tensor, filter: Any) -> torch.Tensor:
    """Every second output of a filter along the last axis, and the one before where long enough."""
    taps = torch.tensor(filter, dtype=data.dtype, device=data.device)
    lines = data.reshape(-1, 1, data.shape[-2], data.shape[-1])
    d = F.conv2d(lines, taps.reshape(1, 1, 1, -1), stride=(1, 2))
    return F.conv2d(d, taps.reshape(1, 1, -1, 1), stride=(2, 1)) if lines.shape[-2] >= 8 else d


def _tiles(d: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Means over tiles that overlap by half, (lines, down, across), and the number of coefficients in one."""
    shape = (min(8, d.shape[-2]), min(8, d.shape[-1]))
    stride = tuple(max(1, edge // 2) for edge in shape)
    return F.avg_pool2d(d, shape, stride).squeeze(1), shape[0] * shape[1]
