"""Compiled loops: reconstructions for many positions of the axis at once, and how sharp they are."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]


@njit(parallel=True, fastmath=True, cache=True)
def backproject(
    filtered: Array, cosines: Array, sines: Array, first: float, coordinates: Array, images: Array
) -> None:
    """Add the back-projection for each of K positions of the axis, one sample apart, to `images`.

    The K candidates lie innermost, so that each ray's contribution to all of them is one run of
    neighbouring samples.

    filtered : (views, samples); images : (H, H, K); coordinates : (H,) of pixels, in samples, from the
    axis; first : sample on which the first candidate of the axis falls.
    """
    views, samples = filtered.shape
    height, width, count = images.shape
    for i in prange(height):
        y = coordinates[height - 1 - i]
        for v in range(views):
            start = y * sines[v] + first
            line = filtered[v]
            for j in range(width):
                place = coordinates[j] * cosines[v] + start
                left = int(np.floor(place))
                if left >= 0 and left + count < samples:
                    upper = np.float32(place - left)
                    lower = np.float32(1.0) - upper
                    for k in range(count):
                        images[i, j, k] += lower * line[left + k] + upper * line[left + k + 1]


@njit(parallel=True, cache=True)
def sharpness(images: Array, radius: float, low: float, high: float) -> Array:
    """(K, 3): gradient sparsity L1/L2, entropy, and minus edge energy of K images (H, H, K), inside a disc.

    The first two are small for images made of few grey levels with edges between them, the third for
    images whose edges are steep. Entropy is that of a histogram of 128 bins from `low` to `high`, each
    value shared between its two nearest bins.
    """
    height, width, count = images.shape
    bins = 128
    middle = (height - 1) / 2
    result = np.zeros((count, 3), dtype=np.float32)
    for k in prange(count):
        absolute, square, total = 0.0, 0.0, 0.0
        histogram = np.zeros(bins + 1)
        for i in range(height - 1):
            for j in range(width - 1):
                if (i - middle) ** 2 + (j - middle) ** 2 > radius * radius:
                    continue
                here = images[i, j, k]
                down = images[i + 1, j, k] - here
                right = images[i, j + 1, k] - here
                power = down * down + right * right
                square += power
                absolute += np.sqrt(power)
                level = (here - low) / (high - low) * (bins - 1)
                level = min(max(level, 0.0), bins - 1.0)
                left = int(level)
                part = level - left
                histogram[left] += 1.0 - part
                histogram[left + 1] += part
                total += 1.0
        entropy = 0.0
        for b in range(bins):
            if histogram[b] > 0:
                share = histogram[b] / total
                entropy -= share * np.log(share)
        result[k, 0] = absolute / np.sqrt(square * total + 1e-30)
        result[k, 1] = entropy
        result[k, 2] = -square / total
    return result
