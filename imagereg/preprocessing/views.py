"""Views: every n-th of them, or those from a first to a last one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from imagereg.errors import UsageError
from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class Views(Step):
    """The views of the slice first:end:every, as in Python, with their angles."""

    name: ClassVar[str] = "views"
    title: ClassVar[str] = "Views"
    summary: ClassVar[str] = "every n-th view, or a range of views"

    every: int = parameter(1, "take one view out of so many", ge=1)
    first: int = parameter(0, "number of the first view, from 0; negative counts from the last")
    end: int | None = parameter(None, "end of the views; negative counts from the last")

    def work(self, measurement: Measurement) -> Outcome:
        """Those views; lazy data are read only there."""
        self._needs(measurement)
        geometry = measurement.geometry
        assert geometry is not None
        taken = slice(self.first, self.end, self.every)
        left = len(range(*taken.indices(geometry.views)))
        if left == 0:
            raise UsageError(f"views: nothing is left of {geometry.views} views.")

        def part(array: Any) -> Any:
            return None if array is None else array[taken]

        return Outcome(
            replace(
                measurement,
                data=measurement.data[taken],
                geometry=geometry[taken],
                view_times=measurement.times_of(taken),
                weights=part(measurement.weights),
            ),
            {"views": left},
        )
