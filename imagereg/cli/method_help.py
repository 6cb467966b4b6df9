"""`imagereg run --method tv --help`: the flags of the method below those of the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

WORDS = "imagereg.words"
"""Where a context keeps the words of its command line: help is asked for before they are understood."""


class MethodCommand(TyperCommand):
    """A command that takes the flags of a method, and shows them in its help where a method is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words for `format_help`."""
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of the command, then the method's parameters."""
        super().format_help(ctx, formatter)
        name = named_method(ctx.meta.get(WORDS, ()))
        if name is None:
            typer.echo("Flags of a method: imagereg run --method NAME --help, or imagereg list NAME.")
            return
        from imagereg.cli.cards import card_of
        from imagereg.methods.registry import method_class

        method_class(name)  # an unknown one is an error that names the nearest
        card = card_of(name)
        assert card is not None
        for line in parameter_lines(card):
            typer.echo(line)


def named_method(words: Sequence[str]) -> str | None:
    """The name behind --method or -m; None without one."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("--method", "-m"):
            return following or None
        if word.startswith("--method="):
            return word.partition("=")[2]
    return None


def parameter_lines(card: dict[str, Any]) -> Iterator[str]:
    """Name, summary and parameters of a method or step, as `list` and `--help` print them."""
    yield f"{card['name']}: {card['title']}"
    yield card["summary"]
    for parameter in card["parameters"]:
        bounds = f"  [{parameter['bounds']}]" if parameter["bounds"] else ""
        level = "  (advanced)" if parameter["level"] == "advanced" else ""
        unit = f" {parameter['unit']}" if parameter["unit"] else ""
        yield f"  --{parameter['name']} {parameter['default']}{unit}{bounds}{level}"
        yield f"      {parameter['description']}"
    if card["reference"]:
        yield card["reference"]
