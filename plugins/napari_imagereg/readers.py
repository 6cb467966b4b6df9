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
    if place.suffix in (".yaml", ".yml"):
        return read_recipe if is_recipe(place) else None
    try:
        reader = find_reader(place)
    except ImageregError:
        return None
    # Single pictures are napari's own business.
    return None if reader.name == "picture" else read_layers


def read_layers(path: str | list[str]) -> list[LayerData]:
    """A file as one image layer; lazy data stay lazy."""
    return _layers(Path(path[0] if isinstance(path, list) else path), None, {})


def _layers(place: Path, format: str | None, hints: dict[str, Any]) -> list[LayerData]:
    from imagereg.io import read
    from napari_imagereg.layers import contrast, measurement_keywords

    measurement = read(place, format=format, **hints)
    keywords = measurement_keywords(measurement, name=place.stem)
    first = measurement.data[0] if len(measurement.data.shape) > 2 else measurement.data
    keywords["contrast_limits"] = contrast(first)
    return [(measurement.data, keywords, "image")]


def is_recipe(path: Path) -> bool:
    """Whether a YAML file is a recipe of imagereg and not somebody else's."""
    import yaml

    from imagereg import yaml_text

    try:
        content = yaml_text.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and "input" in content and bool({"method", "preprocess"} & set(content))


def read_recipe(path: str | list[str]) -> list[LayerData]:
    """The scan that a recipe names, as one layer; the workbench, opened here, takes the rest from it."""
    from imagereg.recipe import Recipe
    from napari_imagereg.layers import KEY

    place = Path(path[0] if isinstance(path, list) else path)
    recipe = Recipe.load(place)
    layers = _layers(recipe.input.path, recipe.input.format, recipe.input.hints)
    for _, keywords, _ in layers:
        keywords["metadata"][KEY]["open_recipe"] = str(place)
    _open_workbench()
    return layers


def _open_workbench() -> None:
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        viewer.window.add_plugin_dock_widget("imagereg", "Workbench")
