"""`imagereg choose` and `imagereg learn`: the parameter with evidence, from one scan or from pairs."""

from __future__ import annotations

import json as encoder
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from imagereg.cli.options import (
    FolderOption,
    HintOption,
    JsonOption,
    MethodOption,
    OverwriteOption,
    RowsOption,
    SetOption,
    SourceArgument,
    StepOption,
    ViewsOption,
    assignments,
    build_recipe,
    flags,
)
from imagereg.errors import UsageError


def choose(
    context: typer.Context,
    source: SourceArgument,
    method: MethodOption = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="discrepancy, equivalent_freedom, gcv, sure, lcurve, held_out, or truth; where not given, "
            "held_out for scans, and for images sure where their noise is known, else gcv.",
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="NAME=LOW:HIGH", help="Parameter to choose and where to search."),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="KEY=VALUE", help="Setting of the rule: tau=1.05, folds=5, probes=2."),
    ] = None,
    slices: Annotated[int, typer.Option(min=1, help="Rows (slices) to choose on, from the middle.")] = 1,
    settings: SetOption = None,
    step: StepOption = None,
    hint: HintOption = None,
    rows: RowsOption = None,
    views: ViewsOption = None,
    output: FolderOption = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Choose a parameter of a method from the data: the value, the curve behind it, the recipe with it.

    Parameters of the method may be given as flags: imagereg choose scan.h5 --method tv --iterations 200
    """
    folder = output or Path("choice")
    from imagereg.services.choosing import (
        choose_for,
        default_rule,
        middle_rows,
        refuse_existing,
        write_choice,
    )

    if not overwrite:
        refuse_existing(folder)
    recipe, _ = build_recipe(
        source,
        method=method,
        settings={**flags(context.args), **assignments(settings)},
        steps=step,
        hints=assignments(hint, flag="--hint"),
        rows=rows,
        views=views,
    )
    began = time.perf_counter()
    ranges = parse_ranges(vary or ())
    recipe, measurement = middle_rows(recipe, slices=slices)
    by = by or default_rule(measurement)
    last = None
    states = choose_for(recipe, measurement, by, ranges, assignments(rule, flag="--rule"))
    for last in states:
        if last.phase == "choosing":
            _say_trial(last, time.perf_counter() - began, as_json=json)
    assert last is not None
    choice = write_choice(recipe, measurement, last, folder)
    if json:
        typer.echo(encoder.dumps({"event": "done", **choice.as_dict(), "folder": str(folder)}))
        return
    for name, value in choice.values.items():
        typer.echo(f"{name} = {value:.6g}")
    typer.echo(f"by {choice.evidence['rule']}: {choice.evidence['sentence']}")
    seconds = time.perf_counter() - began
    trials, iterations = choice.evidence["trials"], choice.evidence["iterations"]
    typer.echo(f"{trials} trials, {iterations} iterations, {seconds:.1f} s")
    typer.echo(f"{folder}: choice.json, curve.png, preview.png, recipe.yaml")


def parse_ranges(words: Sequence[str]) -> dict[str, tuple[float, float] | None]:
    """`{"strength": (1e-4, 1.0)}` from ["strength=1e-4:1"]; None for a name without a range.

    Raises
    ------
    UsageError
        When a word is neither NAME nor NAME=LOW:HIGH.
    """
    found: dict[str, tuple[float, float] | None] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            found[name.strip()] = None
            continue
        try:
            low, high = (float(end) for end in text.split(":"))
        except ValueError:
            raise UsageError(f"--vary {word!r}: write NAME=LOW:HIGH, for example strength=1e-4:1.") from None
        found[name.strip()] = (low, high)
    return found


def _say_trial(state: Any, seconds: float, *, as_json: bool) -> None:
    if as_json:
        line = {"event": "trial", "trial": state.iteration, "seconds": round(seconds, 3), **state.values}
        typer.echo(encoder.dumps(line))
        return
    figures = ", ".join(f"{name} {value:.5g}" for name, value in state.values.items())
    typer.echo(f"[{seconds:7.1f} s] trial {state.iteration}: {figures}")


def learn(
    pairs: Annotated[
        Path, typer.Argument(help="Folder with subfolders `noisy` and `clean` of images with equal names.")
    ],
    method: MethodOption = None,
    by: Annotated[str, typer.Option("--by", help="maid or hoag.")] = "maid",
    steps: Annotated[int, typer.Option(min=1, help="Steps of learning at most.")] = 60,
    crop: Annotated[
        int | None, typer.Option(min=16, help="Learn on the middle square of this size; whole images if not.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--setting", metavar="KEY=VALUE", help="Setting of what is learned: filters=16, size=5."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The preset to write (.yaml).")] = Path(
        "preset.yaml"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing preset.")] = False,
    json: JsonOption = False,
) -> None:
    """Learn parameters of a method from pairs of noisy and clean images; writes a preset for recipes.

    A recipe takes it with  method: {name: tv, preset: preset.yaml}
    """
    if output.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{output}: a preset ends with .yaml.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; choose another name with -o, or allow it with --overwrite.")
    from imagereg.services.learning import learn_from, read_pairs, write_preset

    noisy, clean, names = read_pairs(pairs, crop=crop)
    began, shown = time.perf_counter(), -1.0
    last = None
    given = assignments(setting, flag="--setting")
    for last in learn_from(noisy, clean, method or "tv", by=by, steps=steps, seed=seed, **given):
        seconds = time.perf_counter() - began
        if json:
            line = {"event": "step", "step": last.iteration, "seconds": round(seconds, 3), **last.values}
            typer.echo(encoder.dumps(line))
        elif last.finished or seconds - shown >= 1.0:
            shown = seconds
            values = last.values
            typer.echo(
                f"[{seconds:7.1f} s] step {last.iteration}: PSNR {values['psnr']:.3f} dB, "
                f"gradient {values['hypergradient']:.3g}, work {values['work']:.0f}"
            )
    assert last is not None
    preset = write_preset(last, output, source=pairs, names=names)
    if json:
        document = {
            "event": "done",
            "preset": str(output),
            "parameters": dict(preset.parameters),
            "learned": dict(preset.learned),
        }
        typer.echo(encoder.dumps(document))
        return
    for name, value in preset.parameters.items():
        typer.echo(f"{name} = {value:.6g}" if isinstance(value, float) else f"{name} = {value}")
    learned = preset.learned
    typer.echo(
        f"by {by} from {learned['pairs']} pairs: {learned['psnr_noisy']:.2f} dB noisy, "
        f"{learned['psnr']:.2f} dB learned; {last.finished}"
    )
    typer.echo(f"{output}: use it with  method: {{name: {preset.method}, preset: {output}}}")
