"""All commands, in the order of `imagereg --help`."""

from __future__ import annotations

from typing import Annotated

import typer

import imagereg
from imagereg.cli import calibrate, campaigns, choose, demo, inspect, make, run, train
from imagereg.cli.method_help import MethodCommand

app = typer.Typer(
    name="imagereg",
    help="Inverse-problems imaging workbench: from poor measurements to good images (image regularisation).",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imagereg {imagereg.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


ANY_FLAG = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Lets `--strength 0.02` through: the flags of a method come from its declaration."""

app.command("init")(make.init)
app.command("check", cls=MethodCommand, context_settings=ANY_FLAG)(run.check)
app.command("run", cls=MethodCommand, context_settings=ANY_FLAG)(run.run)
app.command("batch")(campaigns.batch)
app.command("sweep", cls=MethodCommand, context_settings=ANY_FLAG)(campaigns.sweep)
app.command("choose", cls=MethodCommand, context_settings=ANY_FLAG)(choose.choose)
app.command("learn")(choose.learn)
app.command("calibrate")(calibrate.calibrate)
app.command("train")(train.train)
app.command("models")(train.models)
app.command("center")(inspect.center)
app.command("info")(inspect.info)
app.command("list")(inspect.list_things)
app.command("schema")(make.schema)
app.command("compare")(inspect.compare)
app.command("doctor")(inspect.doctor)
app.command("demo")(demo.demo)
