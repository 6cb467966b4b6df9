"""Parameters that several methods have, declared once."""

from __future__ import annotations

from typing import Any

from imagereg.parameters import parameter


def white_level() -> Any:
    """`scale`: the grey value that a network's 1 stands for."""
    return parameter(
        0.0,
        "Grey value of white, black being 0; 0: found from the data",
        ge=0,
        unit="image",
        level="advanced",
    )


def shipped_weights() -> Any:
    """`weights`, of a method that chooses among several."""
    return parameter(
        "auto",
        "Name of shipped weights (`imagereg models`), or a .safetensors file with its card; auto: by what "
        "the data are",
    )
