"""Readers for napari: files that hold scans open as layers with their measurement inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagereg.errors import ImageregError

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """The reader of a path, or None at once where imagereg has nothing particular to say about it."""
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    from imagereg.io import find_reader

    place = Path(path)
    if not place.exists():
        return None
    try:
        reader = find_reader(place)
    except ImageregError:
        return None
    # Single pictures are napari's own business.
    return None if reader.name == "picture" else read_layers


def read_layers(path: str | list[str]) -> list[LayerData]:
    """A file as one image layer; lazy data stay lazy."""
    from imagereg.io import read
    from napari_imagereg.layers import contrast, measurement_keywords

    place = Path(path[0] if isinstance(path, list) else path)
    measurement = read(place)
    keywords = measurement_keywords(measurement, name=place.stem)
    first = measurement.data[0] if len(measurement.data.shape) > 2 else measurement.data
    keywords["contrast_limits"] = contrast(first)
    return [(measurement.data, keywords, "image")]
