"""At how many counts a detector saturates, as far as the data tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from imagereg.measurement import Measurement

_BITS = (8, 10, 12, 14, 16)


def saturation_level(measurement: Measurement) -> float | None:
    """Counts at which values pile up, or None where none do.

    That is the highest count, where it is the largest number of 8, 10, 12, 14 or 16 bits, or where at
    least one value in ten thousand (and ten of them) lie exactly on it.
    """
    values = np.asarray(measurement.data[...])
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if finite.size == 0:
        return None
    highest = float(finite.max())
    piled = int((finite == finite.max()).sum())
    full = any(highest == 2**bits - 1 for bits in _BITS)
    if (full and piled > 1) or piled >= max(10, finite.size // 10_000):
        return highest if float(finite.min()) < highest else None
    return None
