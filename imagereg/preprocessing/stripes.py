"""Algorithms that take stripes off one sinogram (views, columns)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError, did_you_mean

Sinogram = NDArray[np.float32]


def remove_by_sorting(sinogram: Sinogram, size: int) -> Sinogram:
    """Sort each column, take the median over `size` columns at each rank, put the order back.

    Source: Vo, Atwood and Drakopoulos (2018), algorithm 3, doi 10.1364/OE.26.028396.
    """
    from scipy.ndimage import median_filter

    order = np.argsort(sinogram, axis=0, kind="stable")
    ranked = np.take_along_axis(sinogram, order, axis=0)
    smooth = median_filter(ranked, size=(1, size), mode="reflect")
    cleaned = np.empty_like(sinogram)
    np.put_along_axis(cleaned, order, smooth, axis=0)
    return cleaned


def remove_all(sinogram: Sinogram, size: int, width: int, ratio: float) -> Sinogram:
    """Dead and fluctuating columns interpolated, wide stripes levelled, the rest by sorting.

    Source: Vo, Atwood and Drakopoulos (2018), algorithms 6, 5 and 3, doi 10.1364/OE.26.028396.
    """
    cleaned = _without_dead(sinogram, width, ratio)
    cleaned = _without_wide(cleaned, width, ratio)
    return remove_by_sorting(cleaned, size)


def remove_by_wavelets(sinogram: Sinogram, wavelet: str, levels: int, sigma: float) -> Sinogram:
    """Damp the lowest frequencies along the views in the wavelet coefficients of vertical detail.

    Source: Muench, Trtik, Marone and Stampanoni (2009), doi 10.1364/OE.17.008567.

    Raises
    ------
    UsageError
        For a wavelet that PyWavelets does not know.
    """
    import pywt

    if wavelet not in pywt.wavelist(kind="discrete"):
        raise UsageError(
            f"rings.wavelet: no wavelet {wavelet!r}{did_you_mean(wavelet, ('db5', 'haar', 'sym8'))}."
        )
    views, columns = sinogram.shape
    # Both ends mirrored, so that the damping along the views sees no jump from the last to the first.
    pad = ((views // 4, views // 4), (min(columns - 1, 2**levels * 4), min(columns - 1, 2**levels * 4)))
    padded = np.pad(sinogram, pad, mode="reflect")
    deepest = pywt.dwtn_max_level(padded.shape, wavelet)
    coefficients = pywt.wavedec2(padded, wavelet, mode="symmetric", level=max(1, min(levels, deepest)))
    for level in range(1, len(coefficients)):
        horizontal, vertical, diagonal = coefficients[level]
        # One period of the scan is so many of the coefficients' own frequency steps.
        order = np.fft.rfftfreq(vertical.shape[0]) * vertical.shape[0] * views / padded.shape[0]
        damping = 1 - np.exp(-(order**2) / (2 * sigma**2))
        spectrum = np.fft.rfft(vertical, axis=0) * damping[:, None]
        coefficients[level] = (horizontal, np.fft.irfft(spectrum, vertical.shape[0], axis=0), diagonal)
    rebuilt = pywt.waverec2(coefficients, wavelet, mode="symmetric")
    (top, _), (left, _) = pad
    return np.asarray(rebuilt[top : top + views, left : left + columns], dtype=np.float32)


def stripe_strength(frames: NDArray[np.float32]) -> float:
    """Root mean square of the pattern that is fixed to the columns, free of noise, in the data's unit."""
    return _strength_and_share(frames)[0]


def stripes_are_fixed(frames: NDArray[np.float32]) -> bool:
    """Whether most of what is left of the columns' pattern in a quarter of the views is in the others too.

    Small things near the axis hardly move from view to view, but they do from one quarter to the next.
    """
    return _strength_and_share(frames)[1] > 0.65


def _strength_and_share(frames: NDArray[np.float32]) -> tuple[float, float]:
    """Root mean square of the fixed pattern, and its power over that of a quarter's own pattern.

    The pattern is what differs from a running median over seven columns. Its power is the mean product of
    the patterns of different quarters of the views: a stripe is in all of them alike, noise is not, and what
    an object's own edges leave moves from one to the next. `frames` is (views, rows, columns).
    """
    from scipy.ndimage import median_filter

    if frames.shape[0] < 4 or frames.shape[2] < 8:
        return 0.0, 0.0
    difference = frames - median_filter(frames, size=(1, 1, 7), mode="nearest")
    quarters = [part.mean(axis=0) for part in np.array_split(difference, 4)]
    pairs = [float((one * other).mean()) for i, one in enumerate(quarters) for other in quarters[:i]]
    power, own = float(np.mean(pairs)), float(np.mean([(part**2).mean() for part in quarters]))
    return float(np.sqrt(max(0.0, power))), power / (own + 1e-30)


def _without_dead(sinogram: Sinogram, width: int, ratio: float) -> Sinogram:
    """Columns that hardly change from view to view, or change far too much, from their neighbours."""
    from scipy.ndimage import binary_dilation, median_filter

    # Second differences along the views hold the column's own noise and hardly any of the object.
    roughness = np.abs(np.diff(sinogram, 2, axis=0)).mean(axis=0)
    usual = median_filter(roughness, size=width, mode="nearest")
    relative = np.log((roughness + 1e-9) / (usual + 1e-9))
    bad = binary_dilation((np.abs(relative) > np.log(ratio)) & _standing_out(relative, ratio))
    bad[:2] = bad[-2:] = False
    if not bad.any() or bad.mean() > 0.3:
        return sinogram
    good = np.flatnonzero(~bad)
    filled = sinogram.copy()
    for column in np.flatnonzero(bad):
        after = int(np.searchsorted(good, column))
        left, right = good[max(after - 1, 0)], good[min(after, good.size - 1)]
        share = np.float32(0 if left == right else (column - left) / (right - left))
        filled[:, column] = (1 - share) * sinogram[:, left] + share * sinogram[:, right]
    return filled


def _without_wide(sinogram: Sinogram, width: int, ratio: float) -> Sinogram:
    """Columns whose ranked values lie off those around them are shifted and replaced there."""
    from scipy.ndimage import binary_dilation, median_filter

    order = np.argsort(sinogram, axis=0, kind="stable")
    ranked = np.take_along_axis(sinogram, order, axis=0)
    smooth = median_filter(ranked, size=(1, width), mode="reflect")
    # The extreme ranks belong to other things than the stripe: leave a tenth out at either end.
    ends = sinogram.shape[0] // 10
    middle = slice(ends, sinogram.shape[0] - ends or None)
    offset = (ranked[middle] - smooth[middle]).mean(axis=0)
    # Where the object itself bends, the offset changes slowly; a stripe stands out of its surroundings.
    sharp = offset - median_filter(offset, size=2 * (width // 2) + 1, mode="reflect")
    wide = binary_dilation(_standing_out(sharp, ratio))
    if not wide.any() or wide.mean() > 0.3:
        return sinogram
    levelled = sinogram - np.where(wide, offset, 0).astype(np.float32)
    replaced = np.where(wide, smooth, np.take_along_axis(levelled, order, axis=0))
    result = np.empty_like(sinogram)
    np.put_along_axis(result, order, replaced.astype(np.float32), axis=0)
    return result


def _standing_out(figures: NDArray[np.floating], ratio: float) -> NDArray[np.bool_]:
    """Columns whose figure lies off the median by more than `ratio` times what most columns keep to."""
    away = np.abs(figures - np.median(figures))
    return np.asarray(away > ratio * np.percentile(away, 80) + 1e-12)
