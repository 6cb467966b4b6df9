"""A method: what a user picks by name, declared once and shown everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from imagereg.parameters import Parameters, brought

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


@dataclass(frozen=True)
class Needs:
    """What a measurement must have for a method to make sense.

    Parameters
    ----------
    geometry : kinds of scan the method is for ('parallel', 'fan', 'cone'); empty for any physics.
    linear : A must be linear.
    noise : names of noise models the method is derived for; empty for any.
    quantity : what the data may hold (see `Measurement.quantity`).
    """

    geometry: tuple[str, ...] = ()
    linear: bool = True
    noise: tuple[str, ...] = ()
    quantity: tuple[str, ...] = ("line_integrals", "image")


class Method(Parameters):
    """Base of all methods: the fields are the parameters, the class carries the card.

    A new method is one file in `imagereg/methods` (or an entry point `imagereg.methods` of another
    package) with a subclass that sets the class variables, declares its parameters with `parameter`, and
    writes `iterate`. Heavy imports (torch, solvers) belong inside `iterate`.

    Class variables
    ---------------
    name : what users type.
    title, summary : a heading, and one sentence on what it is good for.
    reference : authors, year, DOI or arXiv of each source.
    needs : what a measurement must have.
    main : the parameter that one tunes first; empty where there is none.
    copies : copies of the data and of the image that it holds at its peak, as measured (a test measures
        them again); a run takes as many rows at a time as that allows.
    pixelwise : a pixel's value does not depend on whether the grid holds the whole object.
    passes : projections (A or its adjoint) that one iteration takes, for time estimates.
    formerly : earlier names of this method, each with the values that it stood for; recipes and calls may go
        on using them.
    direct : whether one formula gives the image, quick enough to follow every change of a form at once.
    random : whether the image depends on torch's random numbers; a parameter `seed` says so by itself.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str]
    needs: ClassVar[Needs] = Needs()
    main: ClassVar[str] = ""
    copies: ClassVar[tuple[float, float]] = (12.0, 20.0)
    pixelwise: ClassVar[bool] = False
    passes: ClassVar[float] = 2.0
    direct: ClassVar[bool] = False
    random: ClassVar[bool] = False
    formerly: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @property
    def divisible(self) -> bool:
        """Whether processes that hold parts of a coupled volume can work on it together.

        True where all that concerns the whole goes through `imagereg.physics.distributed`.
        """
        return False

    def without_samples(self, measurement: Measurement) -> str:
        """Why its last state holds no samples of its own, in one sentence; empty where it holds some."""
        return f"{self.name} gives no samples of its own; take uncertainty.source = noise"

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The same method with other values of some parameters, and with what these bring, checked."""
        present = {name: getattr(self, name) for name in type(self).model_fields}
        return self.of({**present, **brought(type(self), values), **values}, where=self.name)

    @classmethod
    def refusal(cls, measurement: Measurement) -> str:
        """Why this method does not fit the measurement, in one sentence; empty where it fits."""
        needs, geometry = cls.needs, measurement.geometry
        if needs.geometry and (geometry is None or geometry.kind not in needs.geometry):
            have = "no scan geometry" if geometry is None else f"a {geometry.kind} beam"
            return f"{cls.name} is for {' and '.join(needs.geometry)} beams and the data have {have}"
        noise = getattr(measurement.noise, "name", None)
        if needs.noise and noise not in needs.noise:
            wanted = " or ".join(needs.noise)
            return f"{cls.name} is for {wanted} noise and the data have {noise or 'no noise model'}"
        if measurement.quantity not in needs.quantity:
            return (
                f"{cls.name} works on {' or '.join(needs.quantity).replace('_', ' ')} and the data are "
                f"{measurement.quantity}; put the step 'flatfield' before it"
            )
        physics = measurement.physics
        if needs.linear and physics is not None and not hasattr(physics, "A_adjoint"):
            return f"{cls.name} is for linear physics and {type(physics).__name__} is not; use red_diff"
        return ""

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """Work on a measurement that is ready (tensors, physics built), one `State` a step."""
        raise TypeError(f"{type(self).__name__} has no iterate().")
