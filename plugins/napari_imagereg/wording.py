"""A recipe in other words: as a command line, and as Python."""

from __future__ import annotations

import json
import shlex
from typing import Any

from imagereg.recipe import Recipe


def as_command(recipe: Recipe) -> str:
    """The line for a shell that does what the recipe does."""
    words = ["imagereg", "run", str(recipe.input.path), "--method", recipe.method.name]
    settings: dict[str, Any] = dict(recipe.method.parameters)
    for step in recipe.preprocess or ("none",):
        (name, values), *_ = step.items() if isinstance(step, dict) else [(step, {})]
        plain = {key: value for key, value in (values or {}).items() if not isinstance(value, list | tuple)}
        given = ",".join(f"{key}={_value(value)}" for key, value in plain.items())
        words += ["--step", f"{name}:{given}" if given else name]
        # A comma parts the parameters of a step, so lists go another way.
        lists = {key: value for key, value in (values or {}).items() if key not in plain}
        settings.update({f"preprocess.{name}.{key}": value for key, value in lists.items()})
    for part in ("physics", "execution"):
        chosen = getattr(recipe, part).model_dump(mode="json", exclude_defaults=True)
        settings.update({f"{part}.{key}": value for key, value in chosen.items()})
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
    plain = physics in ({}, {"kind": "identity"}) and not (recipe.input.rows or recipe.input.views)
    if not plain:
        text = json.dumps(recipe.plain(), indent=4)
        text = text.replace(": true", ": True").replace(": false", ": False").replace(": null", ": None")
        return (
            "import imagereg as ir\n\n"
            f"recipe = ir.Recipe.of_mapping({text})\n"
            "*_, last = ir.run(recipe)\n"
            "result = last.result\n"
        )
    hints = "".join(f", {key}={value!r}" for key, value in recipe.input.hints.items())
    execution = recipe.execution.model_dump(mode="json", exclude_defaults=True)
    settings = {key: value for key, value in execution.items() if key in ("device", "precision", "seed")}
    given = "".join(f", {key}={value!r}" for key, value in {**recipe.method.parameters, **settings}.items())
    lines = ["import imagereg as ir", "", f"scan = ir.read({str(recipe.input.path)!r}{hints})"]
    if recipe.preprocess:
        lines.append(f"scan = ir.preprocess(scan, {list(recipe.preprocess)!r})")
    lines.append(f"result = ir.reconstruct(scan, {recipe.method.name!r}{given})")
    lines.append(f"ir.write(result, {str(recipe.output.folder / 'image.ome.zarr')!r})")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """A value as the command line reads it (YAML)."""
    return value if isinstance(value, str) else json.dumps(value)
