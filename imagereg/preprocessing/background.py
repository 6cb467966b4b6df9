"""Background: the level of line integrals beside the object, which ought to be zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.flatfield import air_level
from imagereg.preprocessing.layout import stack, with_stack

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class Background(Step):
    """p - b, with b a straight line between the mean levels at both edges of each row of each view.

    Of use where the air beside the object is not at zero: transmission normalised elsewhere, a beam that
    drifted, electron tilt series with a detector offset.
    """

    name: ClassVar[str] = "background"
    title: ClassVar[str] = "Background"
    summary: ClassVar[str] = "offset of the line integrals in the air at both edges of the detector, removed"

    columns: int = parameter(5, "columns at either edge that see air in every view", ge=1, unit="columns")

    def work(self, measurement: Measurement) -> Outcome:
        """Line integrals above the line between the edges."""
        self._needs(measurement, "line_integrals")
        values = stack(measurement)
        level = air_level(values, self.columns, f"{self.name}.columns")
        values -= level
        return Outcome(with_stack(measurement, values), {"mean_level": round(float(level.mean()), 6)})
