"""What a result knows of its own error: mean, standard deviation, samples, and intervals of any level."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Step
from imagereg.solvers.outcome import PixelUncertainty
from imagereg.uncertainty.band import Band, check_level
from imagereg.uncertainty.calibration import Calibration

NOMINAL = 0.9
"""Level of intervals where nobody asked for another."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Lower and upper ends for each pixel.

    Attributes
    ----------
    lower, upper : in the layout of the image.
    level : part of the pixels that it is meant to cover.
    calibrated : whether a calibration stands behind that.
    guarantee : what it promises, in one sentence; empty where nothing.
    """

    lower: Any
    upper: Any
    level: float
    calibrated: bool
    guarantee: str = ""

    @property
    def width(self) -> Any:
        """upper - lower."""
        return _array(self.upper) - _array(self.lower)


@dataclass(frozen=True, eq=False)
class Spread:
    """The uncertainty of an image, in the layout of the image.

    Attributes
    ----------
    image : the point estimate.
    asked : the interval that was asked for.
    mean, std, samples : None where the source gave none; samples have an axis of their own first.
    meaning : where it came from.
    calibration : None where there is none.
    """

    image: Any = field(repr=False)
    asked: Interval
    mean: Any = field(default=None, repr=False)
    std: Any = field(default=None, repr=False)
    samples: Any = field(default=None, repr=False)
    meaning: str = ""
    calibration: Calibration | None = None

    def interval(self, level: float | None = None) -> Interval:
        """The interval of a level; calibrated where a calibration was named.

        Parameters
        ----------
        level : between 0 and 1; the one asked for with the run where not given.

        Raises
        ------
        UsageError
            When the level is out of range, or the calibration has too few images for it.
        """
        asked = self.asked
        if level is None or level == asked.level:
            return asked
        check_level(level)
        calibration, image = self.calibration, _array(self.image)
        if calibration is not None:
            ratio = calibration.factor_at(level) / calibration.factor
            lower = image - ratio * (image - _array(asked.lower))
            upper = image + ratio * (_array(asked.upper) - image)
            return Interval(lower, upper, level, True, calibration.guarantee_at(level))
        if self.samples is None and self.std is None:
            raise UsageError(f"only the interval of level {asked.level:g} is known; run it with that level.")
        # One item, so that the least width is that of the whole image whatever its layout.
        known = {
            name: torch.as_tensor(_array(value)).unsqueeze(1 if name == "samples" else 0)
            for name, value in (("samples", self.samples), ("std", self.std), ("mean", self.mean))
            if value is not None
        }
        band = Band.of(torch.as_tensor(image)[None], level, **known)
        tensors = isinstance(image, torch.Tensor)
        lower, upper = (end[0] if tensors else end[0].numpy() for end in (band.lower, band.upper))
        return Interval(lower, upper, level, False)


def completed(
    known: PixelUncertainty,
    image: torch.Tensor,
    level: float,
    calibration: Calibration | None,
    data: torch.Tensor,
) -> PixelUncertainty:
    """What a source gave, completed: `lower`, `upper`, `level`, `calibrated`, `guarantee`, `std`, `mean`.

    A method that gives `lower` and `upper` itself, with their `level`, is believed where no calibration is
    named; without one its intervals count as not calibrated.

    Parameters
    ----------
    known : with samples, or std, or both ends of intervals.
    image : (B, C, ...) the point estimate.
    data : (B, C, ...) what was measured, which the factor of some calibrations follows.
    """
    mean, std, samples = known.mean, known.std, known.samples
    if samples is not None and samples.shape[0] > 1:
        mean = samples.mean(0) if mean is None else mean
        std = samples.std(0) if std is None else std
    found = replace(known, mean=mean, std=std, calibrated=calibration is not None)
    if calibration is None and known.lower is not None and known.upper is not None:
        return replace(found, level=known.level or level)
    band = Band.of(image, level, samples=samples, std=std, mean=mean)
    factor: Step = 1.0
    if calibration is not None:
        factor = calibration.factor_for(data)
        if isinstance(factor, torch.Tensor):
            factor = factor.reshape(-1, *[1] * (image.ndim - 1)).to(image)
        band = band.scaled(factor)
    return replace(
        found,
        lower=band.lower,
        upper=band.upper,
        level=level,
        guarantee="" if calibration is None else calibration.guarantee,
        factor=float(torch.as_tensor(factor).double().mean()),
    )


def _array(values: Any) -> Any:
    """Tensors as they are, all else (lazy images of runs in slabs) as NumPy arrays."""
    return values if isinstance(values, torch.Tensor) else np.asarray(values)
