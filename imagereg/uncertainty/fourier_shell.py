"""Fourier shell correlation: down to which size do two images of the same object agree?

    FSC(q) = Re sum F1 conj(F2) / sqrt(sum |F1|^2 sum |F2|^2)

over the Fourier coefficients of a shell of spatial frequency q (a ring in 2-D). Two reconstructions from
independent halves of the data share the object and not the noise, so that the curve falls from 1 to 0 where
noise takes over. It says nothing of errors that both halves share: a wrong axis, too few views, a prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imagereg.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Curve = NDArray[np.float64]

SEVENTH = 1 / 7
"""Of the halves, where the image of all data correlates to 0.5 with the truth (Rosenthal and Henderson)."""

SMALLEST = 16
"""Pixels that an edge has at least: fewer give no curve."""

EDGE = 0.25
"""Part of the radius over which an image is faded out, so that its edges do not correlate."""


@dataclass(frozen=True, eq=False)
class ShellCorrelation:
    """The curve, its thresholds, and where it falls below them.

    Attributes
    ----------
    frequency : of each shell, in cycles per `unit`.
    correlation : FSC of each shell.
    half_bit : threshold at which a voxel of the image of all data holds half a bit.
    nyquist : the highest frequency that the grid holds.
    resolution : by threshold ('half-bit', '1/7') the size in `unit`; None where the curve stays above it.
    unit : of length.
    """

    frequency: Curve
    correlation: Curve
    half_bit: Curve
    nyquist: float
    resolution: Mapping[str, float | None]
    unit: str

    @property
    def sentence(self) -> str:
        """The resolution in words."""
        parts = []
        for name, size in self.resolution.items():
            least = f"two pixels, {1 / self.nyquist:.3g}"
            parts.append(f"{least if size is None else f'{size:.3g}'} {self.unit} ({name})")
        return f"the halves agree down to {' and '.join(parts)}"


def shell_correlation(
    first: Any, second: Any, *, voxel: Sequence[float] = (), unit: str = "pixel"
) -> ShellCorrelation:
    """FSC of two images (H, W), which is a ring correlation, or volumes (D, H, W).

    A soft window inside the largest ellipse fades both out, for what lies outside of a scan's circle is the
    same in both. The shells are as thick as one coefficient along the shortest axis.

    Parameters
    ----------
    first, second : of the same shape, from independent halves of the data.
    voxel : edges in `unit`, in the order of the axes; 1 where not given.

    Raises
    ------
    UsageError
        When the shapes differ or an edge has fewer than 16 pixels.

    References
    ----------
    M. van Heel, M. Schatz, J. Struct. Biol. 151 (2005) 250, doi:10.1016/j.jsb.2005.05.009 (half-bit);
    P. B. Rosenthal, R. Henderson, J. Mol. Biol. 333 (2003) 721, doi:10.1016/j.jmb.2003.07.013 (1/7).
    """
    a, b = (np.asarray(image, dtype=np.float64) for image in (first, second))
    if a.shape != b.shape or a.ndim not in (2, 3):
        raise UsageError(f"shell_correlation: images of shapes {a.shape} and {b.shape}; give two alike.")
    if min(a.shape) < SMALLEST:
        raise UsageError(
            f"shell_correlation: needs at least {SMALLEST} pixels per edge; the image has {min(a.shape)}."
        )
    edges = tuple(voxel) or (1.0,) * a.ndim
    fade = _fade(a.shape)
    one, two = (np.fft.rfftn((image - np.average(image, weights=fade)) * fade) for image in (a, b))
    axes = [np.fft.fftfreq(n, d) for n, d in zip(a.shape[:-1], edges[:-1], strict=True)]
    axes.append(np.fft.rfftfreq(a.shape[-1], edges[-1]))
    radius = np.sqrt(sum(q**2 for q in np.meshgrid(*axes, indexing="ij", sparse=True)))
    thick = max(1 / (n * d) for n, d in zip(a.shape, edges, strict=True))
    nyquist = min(1 / (2 * d) for d in edges)
    shell = np.rint(radius / thick).astype(int).ravel()
    last = int(nyquist / thick)

    def total(values: Any) -> Curve:
        sums = np.bincount(shell, values.ravel(), minlength=last + 1)
        return sums[1 : last + 1].astype(np.float64)

    power = np.sqrt(total(np.abs(one) ** 2) * total(np.abs(two) ** 2))
    cross = total((one * two.conj()).real)
    correlation = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    # Coefficients of rfftn stand for themselves and their conjugates; a window of part of the area ties
    # neighbours together, so that only that part of them is independent.
    count = np.maximum(total(np.ones_like(radius)) * np.mean(fade**2), 1.0)
    half_bit = half_bit_threshold(count)
    frequency = thick * np.arange(1, last + 1)
    resolution = {
        "half-bit": _crossing(frequency, correlation, half_bit),
        "1/7": _crossing(frequency, correlation, np.full_like(frequency, SEVENTH)),
    }
    return ShellCorrelation(frequency, correlation, half_bit, nyquist, resolution, unit)


def half_bit_threshold(count: Any) -> Curve:
    """FSC at which the sum of the halves holds half a bit a coefficient, for shells of `count` of them."""
    root = 1 / np.sqrt(np.asarray(count, dtype=np.float64))
    return np.minimum((0.2071 + 1.9102 * root) / (1.2071 + 0.9102 * root), 1.0)


def _fade(shape: tuple[int, ...]) -> Curve:
    """1 inside, a raised cosine down to 0 at the largest ellipse."""
    places = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij", sparse=True)
    radius = np.sqrt(sum(place**2 for place in places))
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - 1 + EDGE) / EDGE, 0, 1))


def _crossing(frequency: Curve, curve: Curve, threshold: Curve) -> float | None:
    """The size at which a curve first falls below a threshold, between two shells by a straight line."""
    above = curve - threshold
    # The first shells hold few coefficients and a threshold near 1: they say nothing.
    start = int(np.argmax(above > 0)) if (above > 0).any() else 0
    below = np.flatnonzero(above[start:] < 0)
    if below.size == 0:
        return None
    place = start + int(below[0])
    if place == 0 or above[place - 1] <= 0:
        return float(1 / frequency[place])
    part = above[place - 1] / (above[place - 1] - above[place])
    return float(1 / (frequency[place - 1] + part * (frequency[place] - frequency[place - 1])))
