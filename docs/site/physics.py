"""The page of the kinds of physics, from their declarations."""

from __future__ import annotations

from typing import Any

from methods import tables
from prose import docstring, line

HEAD = """# Kinds of physics

How the image gives the data: `physics.kind` of a recipe, and what the workbench calls the task. A kind is one
file of `imagereg/physics/kinds`, or an entry point `imagereg.physics` of another package.
"""


def page() -> str:
    """Every kind with its parameters."""
    from imagereg.physics.registry import kinds

    return HEAD + "\n\n".join(_section(kind) for kind in kinds().values())


def _section(kind: Any) -> str:
    from imagereg.cli.cards import described

    of = " and ".join(what for what, held in (("scans", kind.scans), ("images", kind.images)) if held)
    parts = [f"## {kind.title}", f"`{kind.name}`: {line(kind.summary)}. For {of}."]
    parts += [docstring(kind)] if "__doc__" in vars(kind) and kind.__doc__ else []
    return "\n\n".join([*parts, *tables(described(kind)["parameters"])])
