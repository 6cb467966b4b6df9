"""A page for each method, made from its declaration, with a picture that the method made itself."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pictures as drawn
from prose import docstring, line, linked

NOT_SCANS = "Data need not be a scan: any linear physics will do."


def navigation() -> list[str]:
    """Pages in alphabetical order, the overview first."""
    from imagereg.methods.registry import methods

    return ["methods/index.md", *(f"methods/{name}.md" for name in methods())]


def pages(cache: Path | None) -> dict[str, str | bytes]:
    """Pages and pictures by their place in the site; without a folder for pictures there are none."""
    from imagereg.methods.registry import methods

    made: dict[str, str | bytes] = {}
    rows = []
    for name, kind in methods().items():
        picture = drawn.picture(kind, cache) if cache is not None else None
        if picture is not None:
            made[f"methods/{name}.png"] = picture.png
        made[f"methods/{name}.md"] = _page(kind, picture.caption if picture is not None else "")
        summary = line(kind.summary[:1].upper() + kind.summary[1:]).removesuffix(".")
        rows.append(f"| [`{name}`]({name}.md) | {kind.title} | {summary} |")
    head = (
        "# Methods\n\nEvery page is made from the method's own declaration, as are the command line's flags,"
    )
    head += " the form in napari and the schema of recipes.\n\n| name | | for |\n|---|---|---|\n"
    made["methods/index.md"] = head + "\n".join(rows)
    return made


def _page(kind: Any, caption: str) -> str:
    from imagereg.cli.cards import card_of

    card: Any = card_of(kind.name)
    parts = [f"# {kind.title}", f"`{kind.name}`: {line(kind.summary)}"]
    if caption:
        parts += [f"![{kind.title}: before and after]({kind.name}.png)", f"*{line(caption)}*"]
    if kind.__doc__ and "__doc__" in vars(kind):
        parts += ["## What it solves", docstring(kind)]
    parts += ["## Parameters", *tables(card["parameters"])]
    parts += ["## Use", _use(kind), "## Needs", _needs(kind)]
    if card["reference"]:
        parts += ["## Source", linked(card["reference"])]
    return "\n\n".join(parts)


def tables(parameters: list[dict[str, Any]]) -> list[str]:
    """Tables of parameters, those of every day first."""
    tables = []
    for level, title in (("basic", ""), ("advanced", "Advanced")):
        rows = [
            f"| `{p['name']}` | {_value(p['default'])} | {line(_range(p))} | {line(p['description'])} |"
            for p in parameters
            if p["level"] == level
        ]
        if rows:
            tables += [f"### {title}"] if title else []
            tables.append("\n".join(["| | default | range | |", "|---|---|---|---|", *rows]))
    return tables or ["None."]


def _value(default: Any) -> str:
    return "found" if default is None else f"`{default}`" if default != "" else ""


def _range(parameter: dict[str, Any]) -> str:
    bounds = re.sub(r"(\d)\.0\b", r"\1", parameter["bounds"] or "").replace("<=", "≤")
    return "; ".join(part for part in (bounds, parameter["unit"]) if part)


def _use(kind: Any) -> str:
    fields = kind.model_fields
    main = kind.main if kind.main in fields else ""
    value = fields[main].default if main else None
    flag = f" --{main.replace('_', '-')} {value}" if main and value is not None else ""
    keyword = f", {main}={value!r}" if main and value is not None else ""
    return (
        f"```sh\nimagereg run scan.h5 --method {kind.name}{flag} -o out\n```\n\n"
        f'```python\nresult = ir.reconstruct(measurement, "{kind.name}"{keyword})\n```'
    )


def _needs(kind: Any) -> str:
    needs = kind.needs
    said = []
    if needs.geometry:
        said.append(f"A scan with a {' or '.join(needs.geometry)} beam.")
    elif needs.linear:
        said.append(NOT_SCANS)
    if not needs.linear:
        said.append("The physics need not be linear.")
    if needs.noise:
        said.append(f"Noise: {' or '.join(needs.noise)}.")
    if "weights" in kind.model_fields:
        said.append("A trained network: shipped weights, or your own (`imagereg train`).")
    said.append(f"Data: {' or '.join(q.replace('_', ' ') for q in needs.quantity)}.")
    module = inspect.getmodule(kind)
    return " ".join(said) + f" Code: `{module.__name__ if module else ''}`."
