"""The JSON Schema of recipes, derived from the declarations of methods and steps."""

from __future__ import annotations

from typing import Any

from imagereg.recipe import Recipe


def schema() -> dict[str, Any]:
    """JSON Schema of recipes, with every method's and step's parameters, for editors."""
    from imagereg.methods.registry import methods
    from imagereg.physics.registry import kinds
    from imagereg.preprocessing import steps

    document = Recipe.model_json_schema()
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "imagereg recipe"
    choices = []
    for name, declared in methods().items():
        card = declared.model_json_schema()
        preset = {"type": "string", "description": "learned parameters: a .yaml file, or a shipped name"}
        card["properties"] = {"name": {"const": name}, "preset": preset, **card.get("properties", {})}
        card["required"] = ["name", *card.get("required", [])]
        card.update(title=declared.title, description=declared.summary)
        choices.append(card)
    document["properties"]["method"] = {
        "description": "a method's name, or its name with its parameters beside it",
        "anyOf": [{"enum": list(methods())}, *choices],
    }
    listed: list[dict[str, Any]] = [{"enum": list(steps())}]
    for name, step in steps().items():
        card = step.model_json_schema()
        card.update(title=step.title, description=step.summary)
        listed.append(
            {
                "type": "object",
                "properties": {name: {"anyOf": [card, {"type": "null"}]}},
                "required": [name],
                "additionalProperties": False,
            }
        )
    document["properties"]["preprocess"] = {
        "type": "array",
        "description": "steps in order",
        "items": {"anyOf": listed},
    }
    document["properties"]["physics"] = {
        "description": "how the image gives the data",
        "anyOf": [_physics_card(name, kind, document) for name, kind in kinds().items()],
    }
    document["properties"]["input"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Input"}]}
    section = {"$ref": "#/$defs/Uncertainty"}
    sources = document["$defs"]["Uncertainty"]["properties"]["source"]["enum"]
    document["properties"]["uncertainty"] = {
        "description": "intervals beside the image: a source, or a source with its settings",
        "anyOf": [{"enum": sources}, section, {"type": "null"}],
    }
    _hoist_definitions(document)
    return document


def _physics_card(name: str, kind: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The section of one kind: what all have, and its own parameters."""
    common = {**document["$defs"]["Physics"]["properties"]}
    common["kind"] = {"const": name, "default": "auto"} if name == "auto" else {"const": name}
    own = kind.model_json_schema()
    return {
        **own,
        "title": kind.title,
        "description": kind.summary,
        "type": "object",
        "properties": {**common, **own.get("properties", {})},
        "required": [] if name == "auto" else ["kind"],
        "additionalProperties": False,
    }


def _hoist_definitions(document: dict[str, Any]) -> None:
    """Move the `$defs` of inserted schemas to the top, where their `$ref`s point."""
    top = document.setdefault("$defs", {})

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node is not document:
                top.update(node.pop("$defs", {}))
            for value in list(node.values()):
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
