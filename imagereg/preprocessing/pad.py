"""Padding: columns beyond the detector, for objects that leave the field of view."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.crop import moved_detector
from imagereg.preprocessing.layout import stack, stack_weights, with_stack

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class Pad(Step):
    """More columns at both edges: the edge's value going on, falling to zero as a cosine, or zero.

    A filter sees no step at the edge of a truncated view then, which takes the bright rim off the
    reconstruction of a region of interest. What is padded gets weight 0.
    """

    name: ClassVar[str] = "pad"
    title: ClassVar[str] = "Pad"
    summary: ClassVar[str] = "columns added at both edges, for objects wider than the field of view"

    columns: int = parameter(64, "columns added at either edge", ge=1, unit="columns")
    mode: Literal["fade", "edge", "zero"] = parameter(
        "fade", "fall from the edge's value to zero, go on with it, or be zero"
    )

    def work(self, measurement: Measurement) -> Outcome:
        """The padded scan, its weights 0 outside."""
        self._needs(measurement, "line_integrals")
        geometry = measurement.geometry
        assert geometry is not None
        values, weights, width = stack(measurement), stack_weights(measurement), self.columns
        beside = ((0, 0), (0, 0), (width, width))
        padded = np.pad(values, beside) if self.mode == "zero" else np.pad(values, beside, mode="edge")
        if self.mode == "fade":
            fall = np.cos(np.linspace(0, np.pi / 2, width, dtype=np.float32)) ** 2
            padded[..., -width:] *= fall
            padded[..., :width] *= fall[::-1]
        heavy = np.pad(np.ones_like(values) if weights is None else weights, beside)
        wider = moved_detector(geometry, -width, geometry.columns + width)
        return Outcome(with_stack(measurement, padded, weights=heavy, geometry=wider))
