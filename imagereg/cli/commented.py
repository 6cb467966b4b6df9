"""A recipe as YAML with the meaning of each key beside it, taken from the declarations."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel

import imagereg
from imagereg.physics.registry import kinds
from imagereg.recipe import Recipe


def commented(recipe: Recipe) -> str:
    """YAML text of the resolved recipe; comments carry each parameter's description."""
    resolved = recipe.resolved()
    chosen = recipe.resolved_method()
    lines = [
        f"# imagereg recipe, written by version {imagereg.__version__}",
        "# `imagereg schema -o recipe.schema.json` and this line let editors complete it:",
        "# yaml-language-server: $schema=recipe.schema.json",
        "version: 1",
        "",
        "input:",
        *_fields(resolved.input, 1),
        "",
        "# steps in order; remove, add (`imagereg list steps`) or change them",
        "preprocess:" if resolved.preprocess else "preprocess: []",
    ]
    for step in recipe.steps():
        body = _fields(step, 3)
        lines.append(f"  - {step.name}:" + ("" if body else " {}"))
        lines.extend(body)
    physics = resolved.physics
    lines += [
        "",
        f"# kinds: {'; '.join(f'{name}, {kind.summary}' for name, kind in kinds().items())}",
        "physics:",
        *_fields(physics, 1),
        *_fields(physics.declared, 1),
        "",
    ]
    lines += [
        f"# {chosen.title}: {chosen.summary}",
        "method:",
        f"  name: {chosen.name}",
        *_fields(chosen, 1),
        "",
    ]
    lines += ["output:", *_fields(resolved.output, 1), "", "execution:", *_fields(resolved.execution, 1), ""]
    return "\n".join(lines)


def _fields(model: BaseModel, depth: int) -> list[str]:
    """One line a field, descriptions in a column; fields that are not set are commented out."""
    plain = model.model_dump(mode="json")
    pairs = []
    for name, field in type(model).model_fields.items():
        value = plain[name]
        head = "# " if value is None else ""
        text = f"{head}{name}: {'' if value is None else _scalar(value)}"
        pairs.append((text, field.description or ""))
    width = min(44, max((len(text) for text, _ in pairs), default=0))
    return [
        f"{'  ' * depth}{text:<{width}}  # {note}" if note else f"{'  ' * depth}{text}"
        for text, note in pairs
    ]


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return text.removesuffix("...").strip()
