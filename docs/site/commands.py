"""The command line's reference, read off its declaration."""

from __future__ import annotations

import inspect
from typing import Any

from prose import line


def page() -> str:
    """Every command with its usage, arguments and options."""
    import typer

    from imagereg.cli.app import app

    group: Any = typer.main.get_command(app)
    parts = [
        "# Command line",
        "Options of a method are flags too: `imagereg run scan.h5 --method tv --strength 0.02`. "
        "The pages of the [methods](../methods/index.md) name them.",
        "Exit codes: 0 done, 1 failed, 2 a wrong parameter or recipe, 3 unreadable input, 4 memory or disk, "
        "130 cancelled.",
    ]
    for name, command in group.commands.items():
        parts += _section(name, command)
    return "\n\n".join(parts)


def _section(name: str, command: Any) -> list[str]:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [_argument(parameter) for parameter in shown if parameter.param_type_name == "argument"]
    usage = " ".join([f"imagereg {name}", *arguments, "[OPTIONS]"])
    first, *more = inspect.cleandoc(command.help or "").split("\n\n")
    parts = [f"## {name}", line(first), f"```sh\n{usage}\n```", *(line(block) for block in more)]
    if shown:
        parts.append("\n".join(["| | |", "|---|---|", *(_row(parameter) for parameter in shown)]))
    return parts


def _argument(parameter: Any) -> str:
    return parameter.metavar or (parameter.name or "").upper()


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{_argument(parameter)}`"
    else:
        names = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
    said = getattr(parameter, "help", "") or ""
    default = parameter.default
    if default not in (None, False, (), "") and not callable(default):
        said += f" Default: {default}."
    return f"| {names} | {line(said)} |"
