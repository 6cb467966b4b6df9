"""From words on the command line to a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagereg.errors import UsageError

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.recipe import Recipe

SourceArgument = Annotated[Path, typer.Argument(help="A recipe (.yaml), or a data file or folder.")]
DataArgument = Annotated[Path, typer.Argument(help="A data file or folder.")]
MethodOption = Annotated[
    str | None, typer.Option("--method", "-m", help="Method by name (see `imagereg list methods`).")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Set a parameter of the method (strength=0.02) or any key of the recipe (execution.seed=3).",
    ),
]
StepOption = Annotated[
    list[str] | None,
    typer.Option("--step", "-p", metavar="STEP", help="Preprocessing step, in order; 'none' for none."),
]
HintOption = Annotated[
    list[str] | None,
    typer.Option("--hint", metavar="KEY=VALUE", help="What the file does not say: pixel=0.01, angles=..."),
]
RowsOption = Annotated[str | None, typer.Option("--rows", help="Detector rows (slices) to take, start:stop.")]
ViewsOption = Annotated[str | None, typer.Option("--views", help="Views to take, start:stop:step.")]
FolderOption = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the results.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line, for other programs.")]


def assignments(words: Sequence[str] | None, *, flag: str = "--set") -> dict[str, Any]:
    """`{"strength": 0.02}` from ["strength=0.02"]; values are read as YAML.

    Raises
    ------
    UsageError
        When a word is not KEY=VALUE.
    """
    found = {}
    for word in words or ():
        key, sign, text = word.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"{flag} {word!r}: write KEY=VALUE, for example strength=0.02.")
        found[key.strip()] = value_of(text)
    return found


def flags(words: Sequence[str]) -> dict[str, Any]:
    """`{"strength": 0.02}` from ["--strength", "0.02"] or ["--strength=0.02"]: flags of the method.

    Raises
    ------
    UsageError
        When a word is not a flag with a value.
    """
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise UsageError(
                f"what is {word!r}? One recipe or data file at a time; parameters as --name VALUE."
            )
        name, sign, text = word[2:].partition("=")
        if not sign:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"{word}: give it a value, for example {word} 0.02.")
            text = rest.pop(0)
        found[name.replace("-", "_")] = value_of(text)
    return found


def value_of(text: str) -> Any:
    """The value that a text means: number, true/false, list, or the text itself."""
    import yaml

    from imagereg.yaml_text import load

    try:
        return load(text)
    except yaml.YAMLError:
        return text


def build_recipe(
    source: Path,
    *,
    method: str | None = None,
    settings: dict[str, Any] | None = None,
    steps: Sequence[str] | None = None,
    hints: dict[str, Any] | None = None,
    rows: str | None = None,
    views: str | None = None,
    folder: Path | None = None,
) -> Recipe:
    """The recipe that a command line means: a recipe file with changes, or one made for a data file.

    For a data file without `--step`, the steps are those that its quantity asks for (counts: flat field and
    centre of rotation), and the method is FBP or FDK for scans and TV for images where none is named.
    """
    from imagereg.recipe import Recipe

    changes: dict[str, Any] = {}
    if is_recipe(source):
        recipe = Recipe.load(source)
        if method is not None:
            recipe = Recipe.of_mapping({**recipe.plain(), "method": {"name": method}})
        if steps:
            recipe = Recipe.of_mapping({**recipe.plain(), "preprocess": _steps(steps)})
        changes.update({f"input.hints.{key}": value for key, value in (hints or {}).items()})
    else:
        from imagereg.io import read

        if method is None or not steps:
            measurement = read(source, **(hints or {}))
            method = method or default_method(measurement)
            chosen = _steps(steps) if steps else default_steps(measurement)
        else:
            chosen = _steps(steps)
        recipe = Recipe.of_mapping(
            {
                "input": {"path": str(source.resolve()), "hints": hints or {}},
                "preprocess": chosen,
                "method": {"name": method},
            }
        )
    if rows is not None:
        changes["input.rows"] = rows
    if views is not None:
        changes["input.views"] = views
    if folder is not None:
        changes["output.folder"] = str(folder.resolve())
    changes.update(settings or {})
    return recipe.with_values(changes) if changes else recipe


def is_recipe(source: Path) -> bool:
    """True for a path that ends like a recipe."""
    return source.suffix.lower() in (".yaml", ".yml")


def default_method(measurement: Measurement) -> str:
    """FBP for parallel and fan beams, FDK for cones, TV for images."""
    if measurement.geometry is None:
        return "tv"
    return "fdk" if measurement.geometry.kind == "cone" else "fbp"


def default_steps(measurement: Measurement) -> list[str]:
    """What the data need before they are line integrals: flat field (with -log) and the centre."""
    from imagereg.preprocessing import default_steps as steps_for

    return list(steps_for(measurement))


def _steps(words: Sequence[str]) -> list[Any]:
    """Steps from words: 'rings', or 'rings:size=31,algorithm=sorting'; 'none' for no step."""
    found: list[Any] = []
    for word in words:
        if word == "none":
            continue
        name, sign, text = word.partition(":")
        found.append({name: assignments(text.split(","), flag="--step")} if sign else name)
    return found
