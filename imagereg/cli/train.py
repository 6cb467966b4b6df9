"""`imagereg train` and `imagereg models`."""

from __future__ import annotations

import json as encoder
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from imagereg.cli.options import JsonOption, assignments
from imagereg.errors import UsageError

OptimiserName = Literal["muon", "adam"]


def train(
    name: Annotated[str, typer.Argument(help="What to train: see `imagereg models --trainable`.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of pictures, or a file (HDF5, Zarr, TIFF, ...) with a stack."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights to write (.safetensors).")] = Path(
        "weights.safetensors"
    ),
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of training; 2000 by default, no limit with --minutes.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Train this long; the rate falls to zero with time.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Examples of a step.")] = 6,
    rate: Annotated[
        float | None, typer.Option(min=1e-8, help="Largest learning rate; that of the training by default.")
    ] = None,
    optimiser: Annotated[str, typer.Option(help="muon or adam; that of the training by default.")] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="Setting of what is trained: crop=128, noisy=true."
        ),
    ] = None,
    start: Annotated[str, typer.Option(help="Name or file of weights to go on from.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    licence: Annotated[str, typer.Option(help="Licence of the data, for the card.")] = "",
    half: Annotated[
        bool, typer.Option("--half", help="Write weights of 16 bits: half the size, rounded by 5e-4.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's event files (needs tensorboard).")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing weights.")] = False,
    json: JsonOption = False,
) -> None:
    """Train a network on your own data; goes on where a killed training stopped.

    Beside the weights lie their card (.json), the figures of the training (.csv) and, until it is over, a
    checkpoint. Stop it with Ctrl-C and give the same command to go on.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: weights end with .safetensors.")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; choose another name with --out, or allow it with --overwrite.")
    if optimiser and optimiser not in get_args(OptimiserName):
        raise UsageError(f"--optimiser {optimiser!r}: give muon or adam.")
    settings = assignments(setting)
    from imagereg.running.threads import use_threads
    from imagereg.services.trainable import trainable
    from imagereg.services.training import clear_checkpoints, make_task, run_training, write_weights

    chosen = trainable(name)
    from imagereg.training.loop import Schedule

    use_threads(threads)
    if not json:
        typer.echo(f"preparing {data if data is not None else chosen.default_data}")
    task = make_task(name, data, start=start, seed=seed, settings=settings)
    count = steps or (2000 if minutes is None else 10**6)
    every = max(1, min(200, count // 10))
    schedule = Schedule(
        steps=count,
        batch=batch,
        rate=rate or chosen.rate,
        optimiser=optimiser or chosen.optimiser,  # type: ignore[arg-type]
        validate=every,
        checkpoint=every,
        seed=seed,
        limit=float("inf") if minutes is None else 60 * minutes,
    )
    shown, last = -1.0, None
    for last in run_training(task, schedule, out, tensorboard=tensorboard):
        now = time.monotonic()
        if json or last.finished or now - shown >= 2.0:
            shown = now
            _say(last, as_json=json)
    assert last is not None
    card = write_weights(
        name,
        last,
        out,
        data="" if data is None else data.name,
        licence=licence,
        command="imagereg " + shlex.join(_words(sys.argv[1:])),
        seed=seed,
        task=task,
        half=half,
    )
    figures = clear_checkpoints(out)
    if json:
        typer.echo(encoder.dumps({"event": "done", "weights": str(out), "metrics": dict(card.metrics)}))
        return
    size = out.stat().st_size / 1e6
    typer.echo(f"{out}: {card.parameters} weights, {size:.1f} MB, with {out.stem}.json and {figures}")
    typer.echo(f"use them with  --method {card.method} --set weights={out}")


def models(
    trainable: Annotated[
        bool, typer.Option("--trainable", help="List what `imagereg train` can train instead.")
    ] = False,
    name: Annotated[str | None, typer.Argument(help="Show the whole card of these weights.")] = None,
    json: JsonOption = False,
) -> None:
    """List the trained networks that the package ships, with their cards."""
    from dataclasses import asdict

    if trainable:
        from imagereg.services.trainable import TRAINABLE

        for one in TRAINABLE.values():
            line = {"name": one.name, "summary": one.summary, "default_data": one.default_data}
            typer.echo(encoder.dumps(line) if json else f"{one.name:<24}{one.summary}")
        return
    from imagereg.networks.store import cards, find_weights, read_card

    if name is not None:
        card = read_card(find_weights(name).with_suffix(".json"))
        values = asdict(card)
        if json:
            typer.echo(encoder.dumps(values))
            return
        for key, value in values.items():
            typer.echo(f"{key:<14}{value}")
        return
    for found in cards().values():
        if json:
            typer.echo(encoder.dumps(asdict(found)))
            continue
        typer.echo(f"{found.name:<24}{found.method}: {found.summary}")
        typer.echo(f"{'':<24}{found.parameters / 1e6:.2f} M weights; data: {found.data}; {found.licence}")


def _say(state: Any, *, as_json: bool) -> None:
    values = state.values
    if as_json:
        line = {"event": "step", "step": state.iteration, "total": state.total, **values}
        typer.echo(encoder.dumps(line))
        return
    figures = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in values.items()
        if name not in ("images_per_second", "seconds_to_go", "rate")
    )
    typer.echo(
        f"[{state.seconds:7.1f} s] step {state.iteration} of {state.total}: {figures}; "
        f"{values['images_per_second']:.1f} images/s, {values['seconds_to_go']:.0f} s to go"
    )


def _words(words: list[str]) -> list[str]:
    """The command line with paths cut to their names, which says enough on a card."""
    return [Path(word).name if "/" in word else word for word in words]
