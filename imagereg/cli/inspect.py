"""Commands that look and change nothing: info, center, list, compare, doctor."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from imagereg.cli.options import DataArgument, HintOption, JsonOption, RowsOption, assignments
from imagereg.errors import UsageError, did_you_mean


def info(source: DataArgument, hint: HintOption = None, json: JsonOption = False) -> None:
    """Say what a data file holds, what was found in it, and what is wrong with it."""
    from imagereg.io import read
    from imagereg.preprocessing import default_steps, health, with_safe_cures

    measurement = read(source, **assignments(hint, flag="--hint"))
    found = health(measurement)
    findings = [str(finding) for finding in found]
    geometry = measurement.geometry
    facts: dict[str, Any] = {
        "source": str(measurement.source or source),
        "quantity": measurement.quantity,
        "shape": list(measurement.data.shape),
        "dtype": str(measurement.data.dtype),
        "geometry": None if geometry is None else geometry.as_dict() | {"angles": None},
        "geometry_summary": None if geometry is None else str(geometry),
        "flats": None if measurement.flats is None else list(measurement.flats.shape),
        "darks": None if measurement.darks is None else list(measurement.darks.shape),
        "pixel": list(measurement.pixel),
        "unit": measurement.unit,
        "notes": list(measurement.notes),
        "findings": findings,
        "suggested_steps": with_safe_cures(default_steps(measurement), found),
    }
    if json:
        typer.echo(encoder.dumps(facts))
        return
    shape = " x ".join(map(str, facts["shape"]))
    typer.echo(f"file      {facts['source']}")
    typer.echo(f"holds     {str(facts['quantity']).replace('_', ' ')}, {shape}, {facts['dtype']}")
    if geometry is not None:
        typer.echo(f"geometry  {geometry}")
    for name in ("flats", "darks"):
        if facts[name] is not None:
            typer.echo(f"{name:<10}{facts[name][0]} frames")
    if measurement.pixel:
        edges = " x ".join(f"{edge:.6g}" for edge in measurement.pixel)
        typer.echo(f"pixel     {edges} {measurement.unit}")
    for note in facts["notes"]:
        typer.echo(f"note      {note}")
    for finding in findings or ["nothing is wrong"]:
        typer.echo(f"health    {finding}")
    if facts["suggested_steps"]:
        typer.echo(f"steps     {', '.join(facts['suggested_steps'])}")


def center(
    source: DataArgument,
    rows: RowsOption = None,
    hint: HintOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the curves as a PNG here.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find the centre of rotation: estimators vote, with an interval."""
    from imagereg.io import read
    from imagereg.preprocessing import default_steps, find_centre, preprocess
    from imagereg.sections import parse_slice

    measurement = read(source, **assignments(hint, flag="--hint"))
    geometry = measurement.geometry
    if geometry is None:
        raise UsageError(f"{source}: the data are images and have no rotation axis.")
    if rows is not None:
        measurement = measurement.select(rows=parse_slice(rows))
    before = [step for step in default_steps(measurement) if step != "centre"]
    estimate = find_centre(preprocess(measurement, before))
    objection = estimate.objection(geometry)
    if output is not None:
        from imagereg.preview import write_curves

        curves = {name: (list(curve[0]), list(curve[1])) for name, curve in estimate.curves.items()}
        write_curves(curves, output, x="column", y="score (scaled)", marks={"centre": estimate.column})
    if json:
        low, high = estimate.interval
        document = {
            "centre_of_rotation": estimate.column,
            "interval": [low, high],
            "votes": dict(estimate.votes),
            "agreed": estimate.agreed,
            "taken": not objection,
            "why_not": objection,
        }
        typer.echo(encoder.dumps(document))
        return
    low, high = estimate.interval
    typer.echo(f"centre of rotation  column {estimate.column:.2f}, between {low:.2f} and {high:.2f}")
    for name, vote in estimate.votes.items():
        typer.echo(f"  {name:<18}{vote:.2f}")
    if objection:
        has = geometry.centre_of_rotation
        typer.echo(f"a run keeps column {has:.2f} of the geometry, as {objection}; centre.column moves it")


def list_things(
    what: Annotated[
        str, typer.Argument(help="methods, steps, physics, readers, phantoms, samples, or the name of one.")
    ] = "methods",
    json: JsonOption = False,
) -> None:
    """List what there is, or the parameters of one method, step or kind of physics."""
    from imagereg.cli.cards import card_of, cards
    from imagereg.cli.method_help import parameter_lines

    groups = ("methods", "steps", "physics", "readers", "phantoms", "samples")
    if what in groups:
        rows = cards(what)
        if json:
            typer.echo(encoder.dumps(rows))
            return
        width = max((len(row["name"]) for row in rows), default=0) + 2
        for row in rows:
            typer.echo(f"{row['name']:<{width}}{row['summary']}")
        return
    card = card_of(what)
    if card is None:
        known = [row["name"] for group in groups[:3] for row in cards(group)]
        raise UsageError(f"nothing is called {what!r}{did_you_mean(what, [*groups, *known])}.")
    if json:
        typer.echo(encoder.dumps(card))
        return
    for line in parameter_lines(card):
        typer.echo(line)


def compare(
    first: Annotated[Path, typer.Argument(help="An image, or the output folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Another one of the same size.")],
    truth: Annotated[Path | None, typer.Option(help="The true image, where there is one.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a picture here (PNG).")] = None,
    json: JsonOption = False,
) -> None:
    """Compare two images on one grey scale: figures, and a picture with their difference."""
    import numpy as np

    from imagereg.metrics import all_metrics
    from imagereg.preview import write_panels

    a, b = image_of(first), image_of(second)
    images = {str(first): a, str(second): b}
    shapes = {a.shape, b.shape}
    if len(shapes) > 1:
        raise UsageError(f"{first} and {second} differ in shape: {' and '.join(map(str, sorted(shapes)))}.")
    report = {"first_to_second": all_metrics(a, b)}
    if truth is not None:
        reference = image_of(truth)
        if reference.shape != a.shape:
            raise UsageError(f"{truth} has shape {reference.shape} and the images {a.shape}.")
        report = {name: all_metrics(array, reference) for name, array in images.items()} | report
    if output is not None:
        names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
        panels = {names[0]: a, f"{names[1]} (again)" if names[0] == names[1] else names[1]: b}
        panels["difference"] = a - b
        if truth is not None:
            panels["truth"] = np.asarray(reference)
        write_panels(panels, output, shared_scale=False)
    if json:
        typer.echo(encoder.dumps(report))
        return
    for name, figures in report.items():
        title = "first against second" if name == "first_to_second" else name
        typer.echo(f"{title}: " + ", ".join(f"{key} {value:.5g}" for key, value in figures.items()))
    if output is not None:
        typer.echo(f"picture: {output}")


def doctor(json: JsonOption = False) -> None:
    """Say what is installed, what it runs on, and what is missing."""
    from imagereg.cli.health import examine

    rows = examine()
    if json:
        typer.echo(encoder.dumps([row._asdict() for row in rows]))
        return
    for row in rows:
        typer.echo(f"{'ok  ' if row.good else 'MISS'}  {row.name:<22}{row.value}")


def image_of(path: Path) -> Any:
    """The image in a file, or that of a run's output folder."""
    import numpy as np

    from imagereg.io import read
    from imagereg.running.campaign import image_in
    from imagereg.running.ledger import FINISHED

    data = image_in(path) if (path / FINISHED).exists() else read(path).data
    return np.asarray(data[...], dtype=np.float64)
