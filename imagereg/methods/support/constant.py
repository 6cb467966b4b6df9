"""An image that holds one value only says nothing of the data: refuse it with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagereg.errors import ImageregError


def is_constant(array: Any) -> bool:
    """Whether an array holds one value only, up to the rounding of single precision."""
    values = np.asarray(array)
    low, high = float(values.min()), float(values.max())
    return high - low <= 1e-6 * max(abs(low), abs(high))


def refuse_constant(name: str, image: Any, data: Any) -> None:
    """Raise where a method made a constant image out of data that are not.

    Raises
    ------
    ImageregError
        With the value, and why: data below zero where values of images are not, or too strong a prior.
    """
    if not is_constant(image) or is_constant(data):
        return
    value = float(np.asarray(image).flat[0])
    below = float((np.asarray(data) < 0).mean())
    if value == 0 and below > 0.5:
        why = (
            f"{below:.0%} of the data lie below zero, as of a reversed sign or of transmission taken for "
            "line integrals: look at the findings of `imagereg check`"
        )
    else:
        why = "its strength outweighs all that the data hold: lower it, or see `imagereg choose`"
    raise ImageregError(f"{name} gave an image that is {value:.4g} everywhere; {why}.")
