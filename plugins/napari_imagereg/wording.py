"""A recipe in other words: as a command line, and as Python."""

from __future__ import annotations

import json
import shlex
from pprint import pformat
from textwrap import indent
from typing import Any

from pydantic import BaseModel

from imagereg.recipe import Recipe
from imagereg.sections import parse_slice


def as_command(recipe: Recipe) -> str:
    """The line for a shell that does what the recipe does; defaults are left out."""
    words = ["imagereg", "run", str(recipe.input.path), "--method", recipe.method.name]
    settings: dict[str, Any] = _parameters(recipe)
    for name, values in _steps(recipe) or [("none", {})]:
        plain = {key: value for key, value in values.items() if not isinstance(value, list | tuple)}
        given = ",".join(f"{key}={_value(value)}" for key, value in plain.items())
        words += ["--step", f"{name}:{given}" if given else name]
        # A comma parts the parameters of a step, so lists go another way.
        lists = {key: value for key, value in values.items() if key not in plain}
        settings.update({f"preprocess.{name}.{key}": value for key, value in lists.items()})
    if recipe.input.format is not None:
        settings["input.format"] = recipe.input.format
    for part in ("physics", "uncertainty", "output", "execution"):
        section = getattr(recipe, part)
        chosen = {} if section is None else section.model_dump(mode="json", exclude_defaults=True)
        # The folder has an option of its own.
        settings.update({f"{part}.{key}": value for key, value in chosen.items() if key != "folder"})
    if recipe.uncertainty is not None:
        settings["uncertainty.source"] = recipe.uncertainty.source
    for key, value in settings.items():
        words += ["--set", f"{key}={_value(value)}"]
    for key, value in recipe.input.hints.items():
        words += ["--hint", f"{key}={_value(value)}"]
    if recipe.input.rows:
        words += ["--rows", recipe.input.rows]
    if recipe.input.views:
        words += ["--views", recipe.input.views]
    return shlex.join([*words, "-o", str(recipe.output.folder)])


def as_python(recipe: Recipe) -> str:
    """A script that does what the recipe does; with the plain functions where they suffice."""
    physics = recipe.physics.model_dump(mode="json", exclude_defaults=True)
    plain = physics in ({}, {"kind": "identity"}) and recipe.uncertainty is None
    output = recipe.output.model_dump(exclude={"folder"}, exclude_defaults=True)
    execution = recipe.execution.model_dump(mode="json", exclude_defaults=True)
    if not plain or output or set(execution) - {"device", "precision", "seed", "threads", "slab"}:
        text = pformat(recipe.plain(), sort_dicts=False, width=88)
        return (
            "import imagereg as ir\n\n"
            f"recipe = ir.Recipe.of_mapping(\n{indent(text, '    ')}\n)\n"
            "for event in ir.run(recipe):\n"
            "    print(event.message)\n"
            "result = event.result\n"
        )
    hints = "".join(f", {key}={value!r}" for key, value in recipe.input.hints.items())
    if recipe.input.format is not None:
        hints += f", format={recipe.input.format!r}"
    settings = {key: value for key, value in execution.items() if key in ("device", "precision", "seed")}
    given = "".join(f", {key}={value!r}" for key, value in {**_parameters(recipe), **settings}.items())
    lines = ["import imagereg as ir", ""]
    if recipe.execution.threads:
        # Sums are rounded by how many threads part them.
        lines[1:] = ["from imagereg.running.threads import use_threads", ""]
        lines.append(f"use_threads({recipe.execution.threads})")
    lines.append(f"scan = ir.read({str(recipe.input.path)!r}{hints})")
    parts = [
        f"{axis}={parse_slice(text)!r}"
        for axis in ("views", "rows")
        if (text := getattr(recipe.input, axis)) is not None
    ]
    if parts:
        lines.append(f"scan = scan.select({', '.join(parts)})")
    steps = [{name: values} if values else name for name, values in _steps(recipe)]
    if steps:
        lines.append(f"scan = ir.preprocess(scan, {steps!r})")
    lines.append(f"result = ir.reconstruct(scan, {recipe.method.name!r}{given})")
    lines.append(f"ir.write(result, {str(recipe.output.folder / 'image.ome.zarr')!r})")
    return "\n".join(lines) + "\n"


def _parameters(recipe: Recipe) -> dict[str, Any]:
    """The method's parameters that differ from its declaration."""
    return _changed(type(recipe.resolved_method()), recipe.method.parameters)


def _steps(recipe: Recipe) -> list[tuple[str, dict[str, Any]]]:
    """The steps by name, each with what differs from its declaration."""
    return [
        (step.name, _changed(type(step), step.model_dump(mode="json", exclude_unset=True)))
        for step in recipe.steps()
    ]


def _changed(declared: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in declared.model_fields.items()
    }

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return {
        key: value
        for key, value in values.items()
        if key not in defaults or plain(value) != plain(defaults[key])
    }


def _value(value: Any) -> str:
    """A value as the command line reads it (YAML)."""
    return value if isinstance(value, str) else json.dumps(value)
