"""The order s of a Sobolev data term, measured on noise: the slope of its logarithmic power spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.frequencies import FrequencyGrid


@dataclass(frozen=True)
class NoiseSpectrum:
    """What `fit_order` found: noise of power spectrum level² · (1 + scale² |ω|²)^(-s).

    Attributes
    ----------
    s : the order; give it to `Sobolev`.
    error : standard error of s, in the units of s, as far as the model holds.
    sigma : standard deviation of the noise in the units of the data (the mean left out).
    level : square root of the fitted power at ω = 0.
    scale : the scale that s belongs to, in samples.
    misfit : standard deviation of log10 of the measured power in 24 bands of frequency about the fitted
        line; 0.05 is a power law, 0.3 is another law.
    """

    s: float
    error: float
    sigma: float
    level: float
    scale: float
    misfit: float


def fit_order(
    noise: torch.Tensor, *, scale: float, axes: Sequence[int] = (-2, -1), homogeneous: bool = False
) -> NoiseSpectrum:
    r"""The s for which 1/W of `Sobolev` is the power spectrum of a piece of noise.

    log P(ω) = 2 log level - s log(1 + scale² |ω|²) + e, by least squares over all frequencies but ω = 0. P is
    the periodogram under a Hann window, whose side lobes fall fast enough (|ω|^-6) not to fill a red
    spectrum's valley; the e of a periodogram has mean -γ (Euler) and variance π²/6 at every frequency, so
    that plain least squares is unbiased in s.

    Parameters
    ----------
    noise : (B, C, ...) data without structure: a patch of background, or flats from `flat_noise`. A plane of
        grey values is taken off each item; items are averaged.
    scale : in samples, as for `Sobolev`.
    axes : the axes of the norm.
    homogeneous : fit log P against log(scale² |ω|²) instead.

    Raises
    ------
    UsageError
        When an axis has fewer than 16 samples, or the noise is constant.
    """
    grid = FrequencyGrid(noise.shape, axes, "periodic")
    if min(grid.lengths) < 16:
        raise UsageError(
            f"a noise patch of {tuple(noise.shape)} is too small to fit s on: give at least 16 samples "
            f"along axes {tuple(axes)}."
        )
    values = _detrend(noise.double(), grid.axes)
    sigma = float(values.square().mean().sqrt())
    if sigma == 0:
        raise UsageError("the noise patch is constant, so its spectrum says nothing: choose another patch.")
    taper = torch.ones([1] * values.ndim, dtype=torch.float64, device=values.device)
    for axis, length in zip(grid.axes, grid.lengths, strict=True):
        layout = [1] * values.ndim
        layout[axis] = length
        hann = torch.hann_window(length, periodic=True, dtype=torch.float64, device=values.device)
        taper = taper * hann.reshape(layout)
    tapered = (values * taper) / taper.square().mean().sqrt()
    power = grid.power(tapered)
    squared = scale**2 * grid.squared_frequencies().to(power.device)
    abscissa = squared if homogeneous else 1 + squared
    abscissa = torch.broadcast_to(abscissa, power.shape)
    # The window smears the removed mean over the nearest frequencies.
    near = _nearest(grid).to(power.device).expand(power.shape)
    x, p = torch.log(abscissa[~near]), power[~near]
    keep = p > 0
    x, y = x[keep], torch.log(p[keep])
    centred = x - x.mean()
    slope = float((centred * y).sum() / centred.square().sum())
    # Neighbours under a window of two bins' width are correlated: about 2 samples count for one an axis.
    effective = 2.0 ** len(grid.axes) * 2  # and a real signal's spectrum is symmetric
    error = float((torch.pi**2 / 6 * effective / centred.square().sum()).sqrt())
    euler = 0.5772156649
    level = float(torch.exp((y.mean() + euler - slope * x.mean()) / 2))
    return NoiseSpectrum(-slope, error, sigma, level, float(scale), _misfit(x, p[keep], slope))


def flat_noise(flats: torch.Tensor, darks: torch.Tensor | None = None) -> torch.Tensor:
    """Noise of line integrals as flats show it: -log of each flat over the mean of all, in (frames, 1, ...).

    Parameters
    ----------
    flats, darks : (frames, columns) or (frames, rows, columns) counts, at least three flats.

    Raises
    ------
    UsageError
        For fewer than three flats, or flats that do not exceed the darks.
    """
    if flats.shape[0] < 3:
        raise UsageError(f"{flats.shape[0]} flats: the noise needs at least 3 to be told from the beam.")
    signal = flats.double() - (0.0 if darks is None else darks.double().mean(0))
    mean = signal.mean(0)
    if bool((signal <= 0).any()) or bool((mean <= 0).any()):
        raise UsageError("some flats do not exceed the darks: mask dead pixels (step 'outliers') first.")
    frames = signal.shape[0]
    # Each frame is in the mean that it is compared with; the factor gives the lost variance back.
    noise = -torch.log(signal / mean) * (frames / (frames - 1)) ** 0.5
    return noise[:, None]


def _detrend(values: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """Values less their mean and their slope along each axis."""
    values = values - values.mean(tuple(axes), keepdim=True)
    for axis in axes:
        length = values.shape[axis]
        layout = [1] * values.ndim
        layout[axis] = length
        ramp = torch.arange(length, dtype=values.dtype, device=values.device) - (length - 1) / 2
        ramp = (ramp / ramp.norm()).reshape(layout)
        slope = (values * ramp).mean(tuple(axes), keepdim=True) * length
        values = values - slope * ramp
    return values


def _nearest(grid: FrequencyGrid) -> torch.Tensor:
    """True at ω = 0 and its neighbours within one bin along every axis."""
    near: torch.Tensor | None = None
    for axis, length in zip(grid.axes, grid.lengths, strict=True):
        index = torch.arange(length)
        layout = [1] * len(grid.shape)
        layout[axis] = length
        close = (torch.minimum(index, length - index) <= 1).reshape(layout)
        near = close if near is None else near & close
    assert near is not None
    return near


def _misfit(x: torch.Tensor, p: torch.Tensor, slope: float) -> float:
    """Spread of log10 of the power, averaged in 24 bands of equally many frequencies, about the line."""
    order = torch.argsort(x)
    bands = torch.tensor_split(torch.log(p[order]) - slope * x[order], 24)
    means = torch.stack([band.mean() for band in bands if band.numel()])
    return float(means.std() / torch.log(torch.tensor(10.0)))
