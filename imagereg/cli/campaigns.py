"""`imagereg batch` and `imagereg sweep`: one recipe on many scans, or with many values."""

from __future__ import annotations

import json as encoder
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagereg.cli.options import (
    CampaignOption,
    ClusterOption,
    HintOption,
    JsonOption,
    MethodOption,
    OverwriteOption,
    ResourceOption,
    RowsOption,
    SchedulerOption,
    SetOption,
    SourceArgument,
    StepOption,
    ViewsOption,
    WorkersOption,
    assignments,
    build_recipe,
    executor_of,
    flags,
    words_by_key,
)
from imagereg.errors import ImageregError, UsageError

if TYPE_CHECKING:
    from imagereg.running.jobs import Job
    from imagereg.running.reports import Executor, Report


def batch(
    source: Annotated[Path, typer.Argument(help="A folder of scans, or a text file that lists them.")],
    recipe: Annotated[Path, typer.Argument(help="The recipe (.yaml) to run on each.")],
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="Names to take from the folder, such as '*.h5'.")
    ] = None,
    settings: SetOption = None,
    output: CampaignOption = Path("batch"),
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    resource: ResourceOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Run a recipe on many scans; what an earlier call finished is kept, what was cut off goes on.

    For example: imagereg batch scans/ recipe.yaml -o results --workers 4
    """
    from imagereg.recipe import Recipe
    from imagereg.running.jobs import batch_jobs

    folder = output.resolve()
    chosen = Recipe.load(recipe)
    if settings:
        chosen = chosen.with_values(assignments(settings))
    jobs = batch_jobs(source, chosen, folder, pattern=pattern)
    _carry_out(
        jobs, executor_of(workers, scheduler, cluster, resource), folder, overwrite=overwrite, json=json
    )


def sweep(
    context: typer.Context,
    source: SourceArgument,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            help="strength=log:1e-3:1e-1:7, iterations=lin:50:250:5, window=ramp,hann; several make a grid.",
        ),
    ] = None,
    method: MethodOption = None,
    settings: SetOption = None,
    step: StepOption = None,
    hint: HintOption = None,
    rows: RowsOption = None,
    views: ViewsOption = None,
    truth: Annotated[Path | None, typer.Option(help="The true image: its figures join the table.")] = None,
    output: CampaignOption = Path("sweep"),
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    resource: ResourceOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Run a recipe with each of several values: folders, a table of figures and a sheet of pictures.

    For example: imagereg sweep scan.h5 --method tv --iterations 200 --vary strength=log:1e-3:1e-1:7
    """
    from imagereg.running.jobs import parse_values, sweep_jobs

    folder = output.resolve()
    varied: dict[str, Sequence[Any]] = {}
    for key, text in words_by_key(vary, flag="--vary", example="strength=log:1e-3:1e-1:7"):
        varied[key] = parse_values(text)
    if not varied:
        raise UsageError("sweep: say what to vary, for example --vary strength=log:1e-3:1e-1:7.")
    recipe, _ = build_recipe(
        source,
        method=method,
        settings={**flags(context.args), **assignments(settings)},
        steps=step,
        hints=assignments(hint, flag="--hint"),
        rows=rows,
        views=views,
    )
    true_image = None
    if truth is not None:
        from imagereg.cli.inspect import image_of

        true_image = image_of(truth)
    jobs = sweep_jobs(recipe, varied, folder)
    executor = executor_of(workers, scheduler, cluster, resource)
    _carry_out(jobs, executor, folder, overwrite=overwrite, json=json, truth=true_image)


def _carry_out(
    jobs: Sequence[Job],
    executor: Executor,
    folder: Path,
    *,
    overwrite: bool,
    json: bool,
    truth: Any = None,
) -> None:
    from imagereg.running.campaign import RECORD, SHEET, TABLE, run_all, write_sheet, write_table

    failed = follow_jobs(run_all(jobs, executor, folder, overwrite=overwrite), len(jobs), as_json=json)
    rows = write_table(jobs, folder, truth=truth)
    sheet = write_sheet(jobs, folder)
    if json:
        document = {"event": "end", "folder": str(folder), "failed": failed, "rows": rows}
        typer.echo(encoder.dumps(document, default=str))
    else:
        _print(rows)
        written = [TABLE, RECORD, *([SHEET] if sheet else [])]
        typer.echo(f"{folder}: a folder for each job, {', '.join(written)}")
    if failed:
        raise ImageregError(
            f"{len(failed)} of {len(jobs)} jobs failed: {', '.join(failed)}; {folder / RECORD} says why, and "
            "the same command goes on with them."
        )


def follow_jobs(reports: Iterable[Report], total: int, *, as_json: bool, every: float = 5.0) -> list[str]:
    """Show reports as they come: a line an event, progress every few seconds; the names of failed jobs."""
    began = time.perf_counter()
    finished, failed, fractions, shown, fresh = 0, [], {}, 0.0, 0
    for report in reports:
        now = time.perf_counter() - began
        fractions[report.job] = report.fraction
        if report.kind in ("done", "kept", "failed"):
            finished += 1
            fresh += report.kind != "kept"
            fractions[report.job] = 0.0
            if report.kind == "failed":
                failed.append(report.job)
        if as_json:
            typer.echo(encoder.dumps(report.as_dict()))
            continue
        if report.kind == "progress" and now - shown < every:
            continue
        if report.kind == "started":
            continue
        shown = now
        done = fresh + sum(fractions.values())
        left = total - finished - sum(fractions.values())
        remaining = f", about {now / done * left:.0f} s to go" if done > 0.05 and left > 0 else ""
        said = report.message if report.kind in ("failed", "progress") else report.kind
        typer.echo(f"[{now:7.1f} s] {finished}/{total} {report.job}: {said}{remaining}")
    return failed


def _print(rows: Sequence[dict[str, Any]], most: int = 9) -> None:
    """The table with as many columns as people can read."""
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(key for row in rows for key in row))
    first = ["job", "status", "seconds", "psnr", "ssim", "residual", "objective", "gap"]
    shown = [name for name in first if name in names][:most]
    table = Table(box=None)
    for name in shown:
        table.add_column(name, justify="left" if name in ("job", "status") else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in shown))
    Console().print(table)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
