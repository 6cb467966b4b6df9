"""The recipe: one YAML document that says input, preprocessing, physics, method, output and execution."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from imagereg import yaml_text
from imagereg.errors import InputError, UsageError
from imagereg.methods.base import Method
from imagereg.methods.registry import method as find_method
from imagereg.methods.registry import methods
from imagereg.parameters import Parameters, brought, explain
from imagereg.presets import is_path
from imagereg.sections import ChosenMethod, Execution, Input, Output, Physics, Uncertainty


class _Meaning:
    """What sections of a recipe mean, each beside the section that it was worked out from.

    Copies of a recipe share it and may have other sections. Recipes are equal whatever is known of them.
    """

    def __init__(self, method: tuple[Any, Any] = (None, None), steps: tuple[Any, Any] = (None, None)) -> None:
        self.method, self.steps = method, steps

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Meaning)

    __hash__ = None  # type: ignore[assignment]


class Recipe(Parameters):
    """Everything that is needed to get from a file to an image, and again.

    Raises
    ------
    UsageError
        For an unknown key (with the nearest known one and its line, where it came from a file), an
        unknown method or step, or a value out of range.
    """

    version: Literal[1] = Field(1, description="version of the recipe's format")
    input: Input
    preprocess: tuple[Any, ...] = Field(
        (), description="steps in order: a name, or {name: {parameter: value}}"
    )
    physics: Physics = Physics()
    method: ChosenMethod = Field(ChosenMethod(), validate_default=False)
    uncertainty: Uncertainty | None = Field(None, description="intervals beside the image; none if not given")
    output: Output = Output()
    execution: Execution = Execution()

    _meaning: _Meaning = PrivateAttr(default_factory=lambda: _Meaning())

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """Take `input: scan.h5`, `method: tv` and `uncertainty: bootstrap` as they are meant."""
        if isinstance(values, Mapping):
            values = dict(values)
            for key, name in (("input", "path"), ("method", "name"), ("uncertainty", "source")):
                if isinstance(values.get(key), str | Path):
                    values[key] = {name: values[key]}
            if isinstance(values.get("preprocess"), str):
                values["preprocess"] = (values["preprocess"],)
        return values

    # ------------------------------------------------------------------ in and out
    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe; paths inside it are relative to its folder."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the recipe {path}: {_reason(error)}.") from None
        return cls.parse(text, where=str(path), folder=path.parent)

    @classmethod
    def parse(cls, text: str, *, where: str = "recipe", folder: Path | None = None) -> Self:
        """A recipe from YAML text."""
        try:
            values = yaml_text.load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or "it cannot be parsed"
            raise UsageError(f"{where}{line}: not valid YAML: {problem}.") from None
        if not isinstance(values, Mapping):
            raise UsageError(f"{where}: a recipe is a mapping with input, preprocess, method, ...")
        if folder is not None:
            values = _with_preset_from(values, folder)
        recipe = cls.of_mapping(values, where=where, lines=yaml_text.lines(text))
        return recipe if folder is None else recipe.relative_to(folder)

    @classmethod
    def of_mapping(
        cls, values: Mapping[str, Any], *, where: str = "recipe", lines: Mapping[str, int] | None = None
    ) -> Self:
        """A recipe from plain values, with method and steps checked against their declarations."""
        try:
            recipe = cls(**values)
        except ValidationError as error:
            raise UsageError(
                "; ".join(_located(cls, e, where, lines or {}) for e in error.errors())
            ) from None
        try:
            recipe.resolved_method()
        except UsageError as error:
            raise UsageError(f"{_at(where, lines or {}, 'method')}: {error}") from None
        try:
            recipe.steps()
        except UsageError as error:
            raise UsageError(f"{_at(where, lines or {}, 'preprocess')}: {error}") from None
        return recipe

    def relative_to(self, folder: Path) -> Self:
        """The same recipe with relative paths taken from `folder`."""

        def anchored(path: Path | None) -> Path | None:
            return path if path is None or path.is_absolute() else (folder / path).resolve()

        uncertainty = self.uncertainty
        if uncertainty is not None:
            uncertainty = uncertainty.model_copy(update={"calibration": anchored(uncertainty.calibration)})
        return self.model_copy(
            update={
                "uncertainty": uncertainty,
                "input": self.input.model_copy(update={"path": anchored(self.input.path)}),
                "output": self.output.model_copy(update={"folder": anchored(self.output.folder)}),
                "physics": self.physics.relative_to(folder),
            }
        )

    def with_values(self, assignments: Mapping[str, Any]) -> Self:
        """The same recipe with values set by dotted key; a key without a dot is a parameter of the method.

        Parameters of the method bring what they count with only (see `imagereg.parameters.parameter`).
        `{"strength": 0.02, "execution.seed": 3, "method.iterations": 50, "preprocess.rings.size": 31}`.
        """
        from imagereg.preprocessing import step_name

        plain = self.plain()
        for key, value in {**self._brought(assignments), **assignments}.items():
            path = key.split(".") if "." in key else ["method", key]
            if path[0] == "preprocess" and len(path) == 3:
                steps = plain.setdefault("preprocess", [])
                names = [step_name(step) for step in steps]
                if path[1] not in names:
                    steps.append({path[1]: {path[2]: value}})
                    continue
                place = names.index(path[1])
                given = steps[place][path[1]] if isinstance(steps[place], dict) else {}
                steps[place] = {path[1]: {**(given or {}), path[2]: value}}
                continue
            node = plain
            for part in path[:-1]:
                child = node.setdefault(part, {})
                if not isinstance(child, dict):
                    form = "preprocess.STEP.PARAMETER" if part == "preprocess" else "SECTION.KEY"
                    raise UsageError(
                        f"--set {key}: {part!r} has nothing of that name below it; write {form}."
                    )
                node = child
            node[path[-1]] = value
        return type(self).of_mapping(plain, where="")

    def _brought(self, assignments: Mapping[str, Any]) -> dict[str, Any]:
        """What parameters of the method bring with them, by dotted key."""
        chosen = methods().get(str(assignments.get("method.name", self.method.name)))
        names = [key.removeprefix("method.") for key in assignments]
        if chosen is None:
            return {}
        return {f"method.{name}": value for name, value in brought(chosen, names).items()}

    def resolved_method(self) -> Method:
        """The method with every parameter in place."""
        held = self._meaning.method
        if held[0] is not self.method:
            held = (self.method, find_method(self.method.name, **self.method.parameters))
            self._meaning.method = held
        chosen: Method = held[1]
        return chosen

    def steps(self) -> list[Any]:
        """The preprocessing steps with every parameter in place."""
        from imagereg.preprocessing import make_step

        held = self._meaning.steps
        if held[0] is not self.preprocess:
            held = (self.preprocess, tuple(make_step(step) for step in self.preprocess))
            self._meaning.steps = held
        return list(held[1])

    def resolved(self, **updates: Any) -> Self:
        """The same recipe with all defaults of its method and steps written out."""
        chosen, steps = self.resolved_method(), self.steps()
        choice = ChosenMethod(name=chosen.name, **chosen.model_dump(mode="json"))
        plain = tuple({step.name: step.model_dump(mode="json")} for step in steps)
        made = self.model_copy(update={"method": choice, "preprocess": plain, **updates})
        made._meaning = _Meaning((choice, chosen), (plain, tuple(steps)))
        return made

    def plain(self) -> dict[str, Any]:
        """Plain values, as `yaml` and `json` write them; what was not set is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_yaml(self, *, header: str = "") -> str:
        """The recipe as YAML text, keys in reading order."""
        comment = "".join(f"# {line}\n" for line in header.splitlines())
        return comment + yaml_text.dump(self.plain())

    @property
    def sha256(self) -> str:
        """Hash of what decides what is computed: input, steps, physics, method, precision, seed."""
        plain = self.resolved().plain()
        plain.pop("output", None)
        execution = plain.get("execution", {})
        plain["execution"] = {key: execution.get(key) for key in ("precision", "seed", "slab", "backend")}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _with_preset_from(values: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """The same values with the path of a preset, which is needed to check the method, taken from `folder`."""
    method = values.get("method")
    preset = method.get("preset") if isinstance(method, Mapping) else None
    if not isinstance(method, Mapping) or not isinstance(preset, str) or not is_path(preset):
        return values
    return {**values, "method": {**method, "preset": str((folder / preset).resolve())}}


def _at(where: str, lines: Mapping[str, int], path: str) -> str:
    line = lines.get(path)
    return (f"{where}:{line}" if line else where) or path


def _located(model: type[BaseModel], error: Any, where: str, lines: Mapping[str, int]) -> str:
    """One clause for a validation error, with the line of the key where it is known."""
    path = ".".join(str(part) for part in error["loc"])
    while path and path not in lines:
        path = path.rpartition(".")[0]
    owner: type[BaseModel] = model
    for part in error["loc"][:-1]:
        field = owner.model_fields.get(str(part))
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        owner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), owner)
    place = f"{where}:{lines[path]}" if path in lines else where
    clause = explain(owner, error, "")
    return f"{place}: {clause}" if place else clause


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
