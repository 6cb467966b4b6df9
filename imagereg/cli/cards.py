"""Cards of methods, steps and the rest, read off their declarations."""

from __future__ import annotations

from typing import Any


def cards(group: str) -> list[dict[str, Any]]:
    """Name and one-line summary of everything in a group."""
    if group == "methods":
        from imagereg.methods.registry import methods

        return [{"name": name, "summary": f"{m.title}: {m.summary}"} for name, m in methods().items()]
    if group == "steps":
        from imagereg.preprocessing import steps

        return [{"name": name, "summary": f"{s.title}: {s.summary}"} for name, s in steps().items()]
    if group == "readers":
        from imagereg.io import readers

        return [
            {"name": name, "summary": f"{reader.title} ({', '.join(reader.suffixes)})"}
            for name, reader in readers().items()
        ]
    if group == "physics":
        from imagereg.physics.registry import kinds

        return [{"name": name, "summary": f"{kind.title}: {kind.summary}"} for name, kind in kinds().items()]
    if group == "phantoms":
        from imagereg.phantoms import PHANTOMS

        return [
            {"name": name, "summary": (make.__doc__ or "").strip().splitlines()[0]}
            for name, make in PHANTOMS.items()
        ]
    from imagereg.samples import SAMPLES

    return [
        {"name": name, "summary": f"{sample.description} ({sample.licence})"}
        for name, sample in SAMPLES.items()
    ]


def card_of(name: str) -> dict[str, Any] | None:
    """The declaration of a method, step or kind of physics as plain values; None where there is none."""
    from imagereg.methods.registry import methods
    from imagereg.physics.registry import kinds
    from imagereg.preprocessing import steps

    declared: Any = {**kinds(), **steps(), **methods()}.get(name)
    return None if declared is None else described(declared)


def described(declared: Any) -> dict[str, Any]:
    """The card of a class of parameters."""
    schema = declared.model_json_schema()["properties"] if declared.model_fields else {}
    parameters = [_parameter(key, field, schema[key]) for key, field in declared.model_fields.items()]
    return {
        "name": declared.name,
        "title": declared.title,
        "summary": declared.summary,
        "reference": getattr(declared, "reference", ""),
        "parameters": parameters,
    }


def _parameter(name: str, field: Any, schema: dict[str, Any]) -> dict[str, Any]:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return {
        "name": name,
        "default": _default(field.default, auto="auto" in extra),
        "description": field.description or "",
        "unit": extra.get("unit", ""),
        "level": extra.get("level", "basic"),
        "bounds": _bounds(schema),
    }


def _default(value: Any, *, auto: bool) -> Any:
    if value is None and auto:
        return "auto"
    return value.model_dump() if hasattr(value, "model_dump") else value


def _bounds(schema: dict[str, Any]) -> str:
    """'0 <= value <= 1', or the choices, as people read them."""
    for option in (schema, *schema.get("anyOf", ())):
        if "enum" in option:
            return " | ".join(map(str, option["enum"]))
        low = option.get("minimum", option.get("exclusiveMinimum"))
        high = option.get("maximum", option.get("exclusiveMaximum"))
        if low is not None or high is not None:
            left = "" if low is None else f"{low:g} {'<=' if 'minimum' in option else '<'} "
            right = "" if high is None else f" {'<=' if 'maximum' in option else '<'} {high:g}"
            return f"{left}value{right}"
    return ""
