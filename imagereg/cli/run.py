"""`imagereg run` and `imagereg check`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from imagereg.cli.options import (
    ClusterOption,
    FolderOption,
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
    why_method,
)


def run(
    context: typer.Context,
    source: SourceArgument,
    method: MethodOption = None,
    settings: SetOption = None,
    step: StepOption = None,
    hint: HintOption = None,
    rows: RowsOption = None,
    views: ViewsOption = None,
    output: FolderOption = None,
    uncertainty: Annotated[
        str | None,
        typer.Option(
            help="Intervals beside the image, from bootstrap, noise, seeds or method; more with --set "
            "uncertainty.runs=20, uncertainty.level=0.9, uncertainty.calibration=FILE."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.")] = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    resource: ResourceOption = None,
    overwrite: OverwriteOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check and show what it would take.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    json: JsonOption = False,
) -> None:
    """Reconstruct: run a recipe, or make one for a data file, run it and keep it with the result.

    Parameters of the method may be given as flags: imagereg run scan.h5 --method tv --strength 0.02
    """
    if uncertainty is not None:
        settings = [*(settings or []), f"uncertainty.source={uncertainty}"]
    if dry_run:
        check(context, source, method, settings, step, hint, rows, views, json)
        return
    changes = {**flags(context.args), **assignments(settings), **_execution(device, threads)}
    recipe, opened = build_recipe(
        source,
        method=method,
        settings=changes,
        steps=step,
        hints=assignments(hint, flag="--hint"),
        rows=rows,
        views=views,
        folder=output,
    )
    from imagereg.cli.display import follow
    from imagereg.running.ledger import FINISHED
    from imagereg.running.local import run as run_recipe

    if json:
        # Who reads the events cancels by an interrupt, which shells let their background jobs ignore.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(recipe.output.folder)
    if output is None and not overwrite and (folder / FINISHED).exists():
        recipe = recipe.with_values({"output.folder": str(_next_free(folder))})
    if workers == 1 and scheduler is None and cluster is None:
        events = run_recipe(recipe, overwrite=overwrite, opened=opened)
    else:
        from imagereg.running.run_on_workers import run_spread

        executor = executor_of(workers, scheduler, cluster, resource)
        events = run_spread(recipe, executor, overwrite=overwrite)
    last = follow(events, as_json=json, quiet=quiet)
    if json or quiet or last.result is None:
        return
    _summary(last.result, Path(recipe.output.folder), why_method(recipe, source, method))


def check(
    context: typer.Context,
    source: SourceArgument,
    method: MethodOption = None,
    settings: SetOption = None,
    step: StepOption = None,
    hint: HintOption = None,
    rows: RowsOption = None,
    views: ViewsOption = None,
    json: JsonOption = False,
) -> None:
    """Check a recipe against its data: findings, what it would take, the recipe in full. Runs nothing."""
    changes = {**flags(context.args), **assignments(settings)}
    recipe, opened = build_recipe(
        source,
        method=method,
        settings=changes,
        steps=step,
        hints=assignments(hint, flag="--hint"),
        rows=rows,
        views=views,
    )
    from imagereg.preprocessing import health
    from imagereg.running.local import estimate
    from imagereg.running.setup import load_input

    raw = load_input(recipe, opened)
    known = opened.found(recipe) if opened is not None else None
    names = [step.name for step in recipe.steps()]
    found = health(raw) if known is None else known
    findings = [finding.in_view_of(names) for finding in found]
    part, plan = estimate(recipe, opened)
    if json:
        import json as encoder

        document = {
            "event": "check",
            "data": str(raw),
            "findings": findings,
            "notes": list(part.notes),
            "plan": str(plan),
            "memory": plan.memory,
            "disk": plan.disk,
            "estimated_seconds": plan.seconds,
            "slabs": len(plan.slabs),
            "recipe": recipe.resolved().plain(),
        }
        typer.echo(encoder.dumps(document))
        return
    typer.echo(f"data      {raw}")
    for note in dict.fromkeys(part.notes):
        typer.echo(f"note      {note}")
    for finding in findings or ["none"]:
        typer.echo(f"finding   {finding}")
    typer.echo(f"will take {plan}")
    typer.echo("recipe")
    for line in recipe.resolved().to_yaml().splitlines():
        typer.echo(f"  {line}")


def _execution(device: str | None, threads: int | None) -> dict[str, Any]:
    given = {"execution.device": device, "execution.threads": threads}
    return {key: value for key, value in given.items() if value is not None}


def _next_free(folder: Path) -> Path:
    """`out-2`, `out-3`, ... beside an output folder that is complete."""
    number = 2
    while (beside := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return beside


def _summary(result: Any, folder: Path, why: str) -> None:
    """What a person wants to know at the end."""
    account = result.provenance
    typer.echo(f"method              {account['method']}, {why}")
    told = account.get("uncertainty")
    if told is not None:
        trust = f"calibrated: {told['guarantee']}" if told["calibrated"] else "not calibrated"
        typer.echo(f"{told['level']:.0%} interval        {told['meaning']}; {trust}")
    centre = account.get("centre_of_rotation")
    if centre is not None:
        typer.echo(f"centre of rotation  column {centre:.2f}, {account['centre_from']}")
    for name, value in account.get("metrics", {}).items():
        typer.echo(f"{name.replace('_', ' '):<20}{value:.6g}")
    for finding in account.get("findings", []):
        typer.echo(f"finding             {finding}")
    for note in account.get("notes", []):
        typer.echo(f"note                {note}")
    seconds = account.get("seconds", {}).get("total", 0.0)
    typer.echo(f"{folder}: image, preview.png, recipe.yaml, provenance.json ({seconds:.1f} s)")
