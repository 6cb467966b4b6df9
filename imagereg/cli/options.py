"""From words on the command line to a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagereg.errors import UsageError

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.recipe import Recipe
    from imagereg.running.reports import Executor
    from imagereg.running.setup import Opened

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
    typer.Option(
        "--step",
        "-p",
        metavar="STEP",
        help="Preprocessing step, in order: centre, or rings:size=31 with its parameters; 'none' for none.",
    ),
]
HintOption = Annotated[
    list[str] | None,
    typer.Option("--hint", metavar="KEY=VALUE", help="What the file does not say: pixel=0.01, angles=..."),
]
RowsOption = Annotated[str | None, typer.Option("--rows", help="Detector rows (slices) to take, start:stop.")]
ViewsOption = Annotated[str | None, typer.Option("--views", help="Views to take, start:stop:step.")]
_FOLDER = typer.Option("--output", "-o", help="Folder for the results.")
FolderOption = Annotated[Path | None, _FOLDER]
CampaignOption = Annotated[Path, _FOLDER]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Allow existing results to be replaced.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", "-w", min=1, help="Processes; the cores are divided among them.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Run on a Dask cluster: tcp://node:8786."),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="KIND",
        help="Run on --workers batch jobs of slurm, pbs, sge or lsf; ~/.config/dask/jobqueue.yaml says what "
        "a job has.",
    ),
]
ResourceOption = Annotated[
    list[str] | None,
    typer.Option("--resource", metavar="NAME=N", help="What a job takes of a Dask worker: GPU=1."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line, for other programs.")]


def assignments(words: Sequence[str] | None, *, flag: str = "--set") -> dict[str, Any]:
    """`{"strength": 0.02}` from ["strength=0.02"]; values are read as YAML.

    Raises
    ------
    UsageError
        When a word is not KEY=VALUE.
    """
    return {key: value_of(text) for key, text in words_by_key(words, flag=flag, example="strength=0.02")}


def words_by_key(words: Sequence[str] | None, *, flag: str, example: str) -> Iterator[tuple[str, str]]:
    """("strength", "0.02") from ["strength=0.02"]; the example helps whoever wrote something else.

    Raises
    ------
    UsageError
        When a word is not KEY=VALUE.
    """
    for word in words or ():
        key, sign, text = word.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"{flag} {word!r}: write KEY=VALUE, for example {example}.")
        yield key.strip(), text


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
) -> tuple[Recipe, Opened | None]:
    """The recipe that a command line means, from a recipe file or for a data file; and that file, if read.

    For a data file without `--step`, the steps are those that its quantity asks for (counts: flat field and
    centre of rotation) after bad views and outliers where there are any, and the method is FBP or FDK for
    scans and TV for images where none is named.
    """
    from imagereg.recipe import Recipe

    changes: dict[str, Any] = {}
    opened: Opened | None = None
    if is_recipe(source):
        recipe = Recipe.load(source)
        if method is not None:
            recipe = Recipe.of_mapping({**recipe.plain(), "method": {"name": method}})
        if steps:
            recipe = Recipe.of_mapping({**recipe.plain(), "preprocess": _steps(steps)})
        changes.update({f"input.hints.{key}": value for key, value in (hints or {}).items()})
    else:
        chosen = _steps(steps) if steps else []
        if method is None or not steps:
            opened = _opened(source, hints or {}, (views, rows), look=not steps)
            method = method or default_method(opened.measurement)
        if opened is not None and opened.findings is not None:
            from imagereg.preprocessing import default_steps, with_safe_cures

            chosen = list(with_safe_cures(default_steps(opened.measurement), list(opened.findings)))
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
    if changes.get("uncertainty.calibration"):
        # Paths in a recipe are relative to its folder, those of a command line to where one stands.
        changes["uncertainty.calibration"] = str(Path(changes["uncertainty.calibration"]).resolve())
    return (recipe.with_values(changes) if changes else recipe), opened


def _opened(
    source: Path, hints: dict[str, Any], part: tuple[str | None, str | None], *, look: bool
) -> Opened:
    """A data file, read; with `look`, its views and rows are looked at too."""
    from imagereg.io import read
    from imagereg.preprocessing import health
    from imagereg.running.setup import Opened, chosen_part
    from imagereg.running.sources import stamp_of

    path = source.resolve()
    stamp = stamp_of(path)
    measurement = read(source, **hints)
    views, rows = part
    found = tuple(health(chosen_part(measurement, views=views, rows=rows))) if look else None
    return Opened(path, hints, measurement, part, found, stamp)


def executor_of(
    workers: int, scheduler: str | None, cluster: str | None, resource: Sequence[str] | None
) -> Executor:
    """Where many jobs run: in this process, in several, on a Dask cluster, or in a batch system.

    Raises
    ------
    UsageError
        When the options do not go together.
    """
    from imagereg.running.reports import InProcess

    needs = assignments(resource, flag="--resource")
    if cluster is not None:
        from imagereg.running.queues import QueueCluster

        if scheduler is not None:
            raise UsageError("--cluster starts a scheduler of its own; give that or --scheduler.")
        return QueueCluster(cluster, workers, needs)
    if scheduler is not None:
        from imagereg.running.cluster import DaskCluster

        return DaskCluster(scheduler, needs)
    if needs:
        raise UsageError("--resource is what a Dask worker has; give a --scheduler or --cluster with it.")
    if workers == 1:
        return InProcess()
    from imagereg.running.processes import Processes

    return Processes(workers)


def is_recipe(source: Path) -> bool:
    """True for a path that ends like a recipe."""
    return source.suffix.lower() in (".yaml", ".yml")


def default_method(measurement: Measurement) -> str:
    """FBP for parallel and fan beams, FDK for cones, TV for images."""
    if measurement.geometry is None:
        return "tv"
    return "fdk" if measurement.geometry.kind == "cone" else "fbp"


def why_method(recipe: Recipe, source: Path, asked: str | None) -> str:
    """Why a run takes its method, in a clause."""
    if asked is not None:
        return "as asked"
    if is_recipe(source):
        return "as the recipe says"
    title = type(recipe.resolved_method()).summary.rstrip(".")
    return f"the default for these data: {title}"


def _steps(words: Sequence[str]) -> list[Any]:
    """Steps from words: 'rings', or 'rings:size=31,algorithm=sorting'; 'none' for no step."""
    found: list[Any] = []
    for word in words:
        if word == "none":
            continue
        name, sign, text = word.partition(":")
        found.append({name: assignments(text.split(","), flag="--step")} if sign else name)
    return found
