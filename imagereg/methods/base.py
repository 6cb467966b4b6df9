"""A method: what a user picks by name, declared once and shown everywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from imagereg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.base import State

Level = Literal["basic", "advanced"]


@dataclass(frozen=True)
class Needs:
    """What a measurement must have for a method to make sense.

    Parameters
    ----------
    geometry : kinds of scan the method is for ('parallel', 'fan', 'cone'); empty for any physics.
    linear : A must be linear.
    noise : names of noise models the method is derived for; empty for any.
    network : a trained network must be given.
    quantity : what the data may hold (see `Measurement.quantity`).
    """

    geometry: tuple[str, ...] = ()
    linear: bool = True
    noise: tuple[str, ...] = ()
    network: bool = False
    quantity: tuple[str, ...] = ("line_integrals", "image")


def parameter(
    default: Any,
    description: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    unit: str = "",
    level: Level = "basic",
    log: bool = False,
    only: Mapping[str, Any] | None = None,
) -> Any:
    """Declare one parameter of a method: its default, bounds, unit, one-line description and level.

    `log` asks forms for a logarithmic slider. `only` names values of other parameters without which this one
    is left out of account; they come with it where it is given and they are not. The flags of the command
    line, the form of the plugin, the schema of recipes and the documentation are all derived from this.
    """
    extra: dict[str, Any] = {"level": level}
    if unit:
        extra["unit"] = unit
    if log:
        extra["log"] = True
    if only:
        extra["only"] = dict(only)
    return Field(default, description=description, json_schema_extra=extra, ge=ge, gt=gt, le=le, lt=lt)


def brought(model: type[BaseModel], names: Collection[str]) -> dict[str, Any]:
    """The values of other parameters that come with those named, since these count only with them."""
    found: dict[str, Any] = {}
    for name in names:
        field = model.model_fields.get(name)
        extra = field.json_schema_extra if field else None
        if isinstance(extra, Mapping):
            found |= extra.get("only", {})  # type: ignore[arg-type]
    return {name: value for name, value in found.items() if name not in names}


class Parameters(BaseModel):
    """A frozen declaration of parameters that refuses unknown names with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _with_what_they_bring(cls, values: Any) -> Any:
        return {**brought(cls, values), **values} if isinstance(values, dict) else values

    @classmethod
    def of(cls, values: dict[str, Any], *, where: str) -> Self:
        """An instance from plain values.

        Raises
        ------
        UsageError
            In one sentence that names `where`, the parameter, what is wrong and what is allowed.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise UsageError("; ".join(explain(cls, e, where) for e in error.errors())) from None


def explain(model: type[BaseModel], error: ErrorDetails, where: str) -> str:
    """One clause for one validation error of `model`."""
    path = ".".join(str(part) for part in error["loc"])
    place = f"{where}.{path}" if where else path
    if error["type"] == "extra_forbidden":
        return f"{place}: no such parameter{did_you_mean(str(error['loc'][-1]), model.model_fields)}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{place} = {error['input']!r}: {message.removeprefix('value error, ')}"


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
    passes : projections (A or its adjoint) that one iteration takes, for time estimates.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    reference: ClassVar[str]
    needs: ClassVar[Needs] = Needs()
    main: ClassVar[str] = ""
    copies: ClassVar[tuple[float, float]] = (12.0, 20.0)
    passes: ClassVar[float] = 2.0

    @property
    def divisible(self) -> bool:
        """Whether processes that hold parts of a coupled volume can work on it together.

        True where all that concerns the whole goes through `imagereg.physics.parted`.
        """
        return False

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
