"""Parallel beam: synchrotrons, electron tilt series, neutrons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imagereg.geometry.base import Geometry, ViewVectors


@dataclass(frozen=True, eq=False, repr=False)
class ParallelBeam(Geometry):
    """Parallel rays at right angles to the rotation axis (fields: see `Geometry`).

    p(a, t) = integral of f along the line x cos a + y sin a = t, with t in mm from the axis. Rows are
    independent slices unless the detector is tilted or shifted along its rows.
    """

    kind: ClassVar[str] = "parallel"

    @property
    def ndim(self) -> int:
        """2 where rows are independent slices; 3 where a tilt or shift along the rows couples them."""
        return 3 if self.tilt or self.offsets[:, 1].any() else 2

    def vectors(self) -> ViewVectors:
        """Directions of the rays, middles and steps of the detector, in mm (see `ViewVectors`)."""
        along_columns, along_rows, along_beam = self._axes()
        offsets = self.offsets
        centre = along_columns * (offsets[:, :1] - self.axis_offset) + along_rows * offsets[:, 1:]
        column, row = self._steps()
        return ViewVectors(along_beam, np.ascontiguousarray(centre), column, row)
