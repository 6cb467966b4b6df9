"""`imagereg calibrate`: intervals that cover what they say, from pairs with known truth."""

from __future__ import annotations

import json as encoder
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagereg.cli.campaigns import follow_jobs
from imagereg.cli.options import (
    ClusterOption,
    JsonOption,
    ResourceOption,
    SchedulerOption,
    SetOption,
    WorkersOption,
    assignments,
    executor_of,
)
from imagereg.errors import ImageregError, UsageError

if TYPE_CHECKING:
    from imagereg.recipe import Recipe


def calibrate(
    recipe: Annotated[Path, typer.Argument(help="The recipe (.yaml) whose intervals are to be calibrated.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs", help="Folder with `measured` and `truth`, or a list 'measured, truth' a line."
        ),
    ] = None,
    generate: Annotated[
        int | None,
        typer.Option("--generate", min=1, help="Calibrate on so many generated phantoms instead."),
    ] = None,
    phantom: Annotated[
        str, typer.Option(help="Phantom to generate: see `imagereg list phantoms`.")
    ] = "ellipses_and_lines",
    held_out: Annotated[
        bool, typer.Option("--held-out", help="No truth: look at the coverage of views that are left out.")
    ] = False,
    folds: Annotated[
        int, typer.Option(min=2, help="With --held-out: every so many-th view is left out.")
    ] = 5,
    used: Annotated[int, typer.Option(min=1, help="With --held-out: so many of the folds are run.")] = 1,
    shifted: Annotated[
        Path | None,
        typer.Option(
            "--shifted",
            help="Folder of measurements without truth, other than the pairs: the factor then follows the "
            "measurement (LR-QR).",
        ),
    ] = None,
    guarantee: Annotated[
        str | None,
        typer.Option(
            "--guarantee",
            help="crc (mean coverage), rcps (with confidence), image; crc where not given.",
            show_default=False,
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option(min=1e-6, max=0.999, help="Chance to fail of rcps, image and --shifted.")
    ] = 0.1,
    settings: SetOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write (.json).")] = Path(
        "calibration.json"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generated phantoms.")] = 0,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    cluster: ClusterOption = None,
    resource: ResourceOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing calibration.")] = False,
    json: JsonOption = False,
) -> None:
    """Calibrate the intervals of a recipe; what an earlier call finished is kept, what was cut off goes on.

    A recipe takes the file with  uncertainty: {source: bootstrap, calibration: calibration.json}
    """
    if output.suffix != ".json":
        raise UsageError(f"{output}: a calibration ends with .json.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; choose another name with -o, or allow it with --overwrite.")
    if sum((pairs is not None, generate is not None, held_out)) != 1:
        raise UsageError("calibrate: give one of --pairs FOLDER, --generate N and --held-out.")
    if shifted is not None and (held_out or guarantee is not None):
        raise UsageError(
            "calibrate: --shifted goes with pairs, has its own rule and gives no guarantee; leave out "
            "--guarantee and --held-out."
        )
    from imagereg.recipe import Recipe
    from imagereg.services.calibrating import prepared

    chosen = Recipe.load(recipe)
    if settings:
        chosen = chosen.with_values(assignments(settings))
    chosen = prepared(chosen)
    if held_out:
        _held_out(chosen, folds, used, output, json)
        return
    from imagereg.running.campaign import run_all
    from imagereg.services.calibrating import calibrate as calibrate_on
    from imagereg.services.calibrating import pair_jobs, write_calibration
    from imagereg.services.pairs import find_alone, find_pairs, generate_pairs
    from imagereg.uncertainty.conformal import refuse_few
    from imagereg.uncertainty.covariate_shift import FEATURES, refuse_few_scores

    request = chosen.uncertainty
    assert request is not None
    rule = guarantee or "crc"
    alone = () if shifted is None else find_alone(shifted)

    def refuse(count: int) -> None:
        if alone:
            refuse_few_scores(count, FEATURES)
        else:
            refuse_few(rule, count, 1 - request.level, delta)

    folder = output.resolve().with_suffix("").with_name(f"{output.stem}-runs")
    if pairs is not None:
        found = find_pairs(pairs)
        refuse(len(found))
    else:
        assert generate is not None
        refuse(generate)
        chosen, found = generate_pairs(chosen, folder / "pairs", generate, phantom=phantom, seed=seed)
    jobs = pair_jobs(chosen, found, folder)
    executor = executor_of(workers, scheduler, cluster, resource)
    failed = follow_jobs(run_all(jobs, executor, folder, overwrite=overwrite), len(jobs), as_json=json)
    if failed:
        raise ImageregError(
            f"{len(failed)} of {len(jobs)} pairs failed: {', '.join(failed)}; the same command goes on with "
            "them."
        )
    kind = "measured" if pairs is not None else "generated"
    calibration = calibrate_on(chosen, found, jobs, rule=rule, delta=delta, truth=kind, shifted=alone)
    write_calibration(calibration, output)
    width = sum(row["mean_width"] for row in calibration.figures) / len(calibration.figures)
    after, factor = calibration.left_out(), calibration.factor
    if json:
        values = {"event": "done", "calibration": str(output), "factor": factor, "n": len(jobs)}
        values |= {"raw_coverage": calibration.raw_coverage, "left_out_coverage": after}
        values |= {"raw_width": width, "width": width * factor, "guarantee": calibration.guarantee}
        typer.echo(encoder.dumps(values))
        return
    typer.echo(f"raw intervals cover    {calibration.raw_coverage:.1%} of the pixels, mean width {width:.4g}")
    typer.echo(f"factor                 {factor:.4g}, mean width {width * factor:.4g}")
    if calibration.shifted:
        least, most = min(calibration.shifted), max(calibration.shifted)
        typer.echo(f"of the shifted         {least:.4g} to {most:.4g}, the middle one above")
    if after is not None:
        typer.echo(f"each image by the others  {after:.1%} of the pixels")
    typer.echo(f"guarantee              {calibration.guarantee}")
    typer.echo(f"{output}: name it in the recipe as uncertainty.calibration; {output.stem}.png shows it")


def _held_out(recipe: Recipe, folds: int, used: int, output: Path, json: bool) -> None:
    from imagereg.services.calibrating import held_out, write_held_out

    began, shown, last = time.perf_counter(), 0.0, None
    for last in held_out(recipe, folds=folds, used=used):
        now = time.perf_counter() - began
        if now - shown >= 5.0 and not json:
            shown = now
            typer.echo(f"[{now:7.1f} s] {last.phase} iteration {last.iteration}")
    assert last is not None
    found = last.outcome.coverage
    assert found is not None
    write_held_out(found, output)
    if json:
        typer.echo(encoder.dumps({"event": "done", **found.as_dict()}))
        return
    for level, covered in found.coverage.items():
        alone = found.without_spread[level]
        typer.echo(f"nominal {level:.0%}  covered {covered:.1%}  with the noise alone {alone:.1%}")
    typer.echo(
        f"mean width {found.mean_width:.4g} at {found.level:.0%}, of {found.data} data in {found.views} views"
    )
    typer.echo(f"error over predicted standard deviation {found.error_over_std:.3g} (1 where they agree)")
    typer.echo(f"noise: {found.noise}, {found.noise_part:.0%} of the predicted variance")
    typer.echo(f"{output} and {output.stem}.png")
