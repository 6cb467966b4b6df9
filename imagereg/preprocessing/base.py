"""A preprocessing step: declared like a method, resolved on a look at the data, applied band by band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PrivateAttr

from imagereg.errors import UsageError
from imagereg.parameters import Parameters
from imagereg.preprocessing.layout import as_frames, row_count

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


@dataclass(frozen=True)
class Outcome:
    """What a step made of a measurement.

    Parameters
    ----------
    measurement : the new measurement.
    found : what was counted or found on the way, plain values for the history.
    notes : one sentence for each thing that a user must know.
    """

    measurement: Measurement
    found: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Step(Parameters):
    """Base of all preprocessing steps: the fields are the parameters, the class carries the card.

    A new step is one file in `imagereg/preprocessing` (or an entry point `imagereg.steps` of another
    package) with a subclass that sets the class variables, declares its parameters with
    `imagereg.parameters.parameter`, and writes `work`.

    Work on a scan has two parts, so that scans larger than memory can be worked on in bands of rows:
    `resolve` decides once, from a few rows, what is common to the whole scan (a centre, a gain) and
    returns the step with these parameters filled in; `apply` is pure and works on any band of rows. A
    step that looks at neighbouring rows says how many in `halo`; one that changes the number of rows
    says how in `rows_after` and `rows_before`.

    Class variables
    ---------------
    name : what users type.
    title, summary : a heading, and one sentence on what it is good for.
    reference : authors, year, DOI of each source; empty where there is none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str] = ""

    _found: dict[str, Any] = PrivateAttr(default_factory=dict)
    _remarks: tuple[str, ...] = PrivateAttr(default=())
    _on_band: bool = PrivateAttr(default=False)

    # ------------------------------------------------------------------ what a step writes
    def resolve(self, measurement: Measurement) -> Self:
        """The step with all parameters that depend on the data filled in, from a few rows of a scan."""
        return self

    def work(self, measurement: Measurement) -> Outcome:
        """What the step makes of a measurement in frames. The measurement itself is not changed."""
        raise TypeError(f"{type(self).__name__} has no work().")

    @property
    def halo(self) -> int:
        """Number of neighbouring rows on either side that a row depends on."""
        return 0

    def rows_after(self, rows: int) -> int:
        """Number of rows that the step makes of `rows`."""
        return rows

    def rows_before(self, start: int, stop: int, rows: int) -> tuple[int, int]:
        """First row and end of the rows, out of `rows`, that rows start to stop of the outcome need."""
        return max(0, start - self.halo), min(rows, stop + self.halo)

    # ------------------------------------------------------------------ what users call
    def apply(self, measurement: Measurement) -> Measurement:
        """The measurement after this step, with the step in its history and what it found in its notes.

        Raises
        ------
        UsageError
            When the step does not fit the measurement, in one sentence that says what would.
        """
        framed = as_frames(measurement)
        outcome = self.work(framed)
        record = {"step": self.name, **self.model_dump(mode="json")}
        if found := {**self._found, **outcome.found}:
            record["found"] = found
        return replace(
            outcome.measurement,
            history=(*framed.history, record),
            notes=(*outcome.measurement.notes, *self._remarks, *outcome.notes),
        )

    def on_band(self) -> Self:
        """The step as it acts on rows that were picked by `rows_before`."""
        band = self.model_copy()
        band._on_band = True
        return band

    # ------------------------------------------------------------------ helpers for subclasses
    def _resolved(
        self,
        values: Mapping[str, Any],
        *,
        found: Mapping[str, Any] | None = None,
        remarks: tuple[str, ...] = (),
    ) -> Self:
        """A copy with values that were found in the data, checked like those that a user gives."""
        chosen = type(self).of({**self.model_dump(), **values}, where=self.name)
        chosen._found, chosen._remarks = dict(found or {}), remarks
        return chosen

    def _needs(self, measurement: Measurement, *quantities: str) -> None:
        """Refuse a measurement without geometry or of another quantity, in one sentence."""
        if measurement.geometry is None:
            raise UsageError(f"{self.name} is for scans and the data have no scan geometry; leave it out.")
        if quantities and measurement.quantity not in quantities:
            have = str(measurement.quantity).replace("_", " ")
            wanted = " or ".join(quantity.replace("_", " ") for quantity in quantities)
            hint = "leave it out" if measurement.quantity == "line_integrals" else "put flatfield before it"
            raise UsageError(f"{self.name} is for {wanted} and the data are {have}; {hint}.")


def trimmed(measurement: Measurement, start: int, stop: int) -> Measurement:
    """Rows start to stop of what a step made of a band."""
    if (start, stop) == (0, row_count(measurement)):
        return measurement
    return measurement.select(rows=slice(start, stop))
