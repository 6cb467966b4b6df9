"""Fan beam: a point source, a flat detector and one slice between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imagereg.errors import UsageError
from imagereg.geometry.base import Geometry, ViewVectors, _number


@dataclass(frozen=True, eq=False, repr=False)
class PointSource(Geometry):
    """A point source opposite a flat detector.

    Parameters (beside those of `Geometry`)
    ----------
    source_origin : distance in mm from the source to the rotation axis.
    source_detector : distance in mm from the source to the detector.
    """

    source_origin: float = 0.0
    source_detector: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        so, sd = _number(self.source_origin), _number(self.source_detector)
        if not (math.isfinite(so) and math.isfinite(sd) and 0 < so <= sd):
            raise UsageError(
                f"{type(self).__name__}(source_origin={self.source_origin!r}, "
                f"source_detector={self.source_detector!r}): give distances in mm, "
                "0 < source_origin <= source_detector."
            )
        object.__setattr__(self, "source_origin", so)
        object.__setattr__(self, "source_detector", sd)

    @property
    def magnification(self) -> float:
        """Distance from source to detector over distance from source to axis."""
        return self.source_detector / self.source_origin

    @property
    def fan_angle(self) -> float:
        """Half of the fan's opening, in radians, up to the farther edge of the detector."""
        offset = float(np.abs(self.offsets[:, 0]).max())
        return math.atan((self.columns / 2 * self.pixel + offset) / self.source_detector)

    def vectors(self) -> ViewVectors:
        """Positions of the source, middles and steps of the detector, in mm (see `ViewVectors`)."""
        along_columns, along_rows, along_beam = self._axes()
        offsets = self.offsets
        aside = -self.axis_offset * along_columns
        source = aside - self.source_origin * along_beam
        centre = aside + (self.source_detector - self.source_origin) * along_beam
        centre = centre + along_columns * offsets[:, :1] + along_rows * offsets[:, 1:]
        column, row = self._steps()
        return ViewVectors(source, centre, column, row)


@dataclass(frozen=True, eq=False, repr=False)
class FanBeam(PointSource):
    """A fan in the plane of one slice, on a flat detector (fields: see `Geometry` and below).

    p(a, s) = integral of f along the line from the source to the detector point at distance s from the
    middle. `source_origin` and `source_detector` are distances in mm. Several rows are independent
    slices, as of a stack of single-row scans.
    """

    kind: ClassVar[str] = "fan"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tilt or self.offsets[:, 1].any():
            raise UsageError(
                "FanBeam(tilt=..., detector_offset=..., shifts=...): a fan lies in one slice, so that its "
                "detector can neither be tilted nor move along its rows; use ConeBeam."
            )
