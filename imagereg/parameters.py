"""Parameters: declared once with bounds, unit, description and level; every face is derived from that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from imagereg.errors import UsageError, did_you_mean

Level = Literal["basic", "advanced"]


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
    auto: float | None = None,
    formerly: str = "",
) -> Any:
    """Declare one parameter of a method: its default, bounds, unit, one-line description and level.

    `log` asks forms for a logarithmic slider. `only` names values of other parameters without which this one
    is left out of account; they come with it where it is given and they are not. `auto` is a typical value of
    a parameter that is None, written 'auto', where it is to be found from the data: searches and sliders
    begin there. `formerly` is an earlier name, which recipes, presets and calls may go on using. The flags of
    the command line, the form of the plugin, the schema of recipes and the documentation are all derived
    from this.
    """
    extra: dict[str, Any] = {"level": level}
    if unit:
        extra["unit"] = unit
    if log:
        extra["log"] = True
    if only:
        extra["only"] = dict(only)
    if auto is not None:
        extra["auto"] = auto
    if formerly:
        extra["formerly"] = formerly
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


def typical(model: type[BaseModel], name: str) -> float | None:
    """A usual value of a parameter that may be found from the data; None for one that may not."""
    extra = model.model_fields[name].json_schema_extra
    value = extra.get("auto") if isinstance(extra, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def number_of(parameters: Parameters, name: str) -> Any:
    """The value of a parameter, a typical one where it is to be found from the data."""
    value = getattr(parameters, name)
    return typical(type(parameters), name) if value is None else value


def earlier_names(model: type[BaseModel]) -> dict[str, str]:
    """Earlier name to present name of the parameters that have one."""
    found = {}
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, Mapping) and extra.get("formerly"):
            found[str(extra["formerly"])] = name
    return found


class Parameters(BaseModel):
    """A frozen declaration of parameters that refuses unknown names with the nearest known one.

    `renamed` has a sentence for each parameter that was given by an earlier name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    _renamed: tuple[str, ...] = PrivateAttr(default=())

    @property
    def renamed(self) -> tuple[str, ...]:
        """'`most` is now called `sigma_max`.' for each earlier name that was used."""
        return self._renamed

    @model_validator(mode="wrap")
    @classmethod
    def _by_earlier_names(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        said = []
        if isinstance(values, dict):
            for old, new in earlier_names(cls).items():
                if old not in values:
                    continue
                if new in values:
                    raise ValueError(f"{old} and {new} are one parameter, now called {new}; give it once")
                values = {new if name == old else name: value for name, value in values.items()}
                said.append(f"`{old}` is now called `{new}`.")
        made = build(values)
        if said:
            made._renamed = tuple(said)
        return made

    @model_validator(mode="before")
    @classmethod
    def _with_what_they_bring(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        found = {
            name: None
            if isinstance(value, str)
            and value == "auto"
            and name in cls.model_fields
            and typical(cls, name) is not None
            else value
            for name, value in values.items()
        }
        return {**brought(cls, found), **found}

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
