"""Commands that write something to start from: init and schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagereg.cli.options import HintOption, MethodOption, SetOption, StepOption, assignments, build_recipe
from imagereg.errors import UsageError


def init(
    source: Annotated[Path, typer.Argument(help="The data file or folder to write a recipe for.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the recipe.")] = Path(
        "recipe.yaml"
    ),
    method: MethodOption = None,
    settings: SetOption = None,
    step: StepOption = None,
    hint: HintOption = None,
    folder: Annotated[Path, typer.Option("--folder", help="Output folder that the recipe names.")] = Path(
        "out"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing recipe.")] = False,
) -> None:
    """Write a recipe for a data file, every parameter in place with its meaning beside it."""
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; choose another name with -o, or allow it with --overwrite.")
    recipe, _ = build_recipe(
        source,
        method=method,
        settings=assignments(settings),
        steps=step,
        hints=assignments(hint, flag="--hint"),
        folder=folder,
    )
    from imagereg.cli.commented import commented
    from imagereg.running.ledger import write_beside

    text = commented(recipe)
    write_beside(output, lambda stream: stream.write(text.encode()))
    typer.echo(
        f"{output} written; check it with `imagereg check {output}`, run it with `imagereg run {output}`"
    )


def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file instead.")] = None,
) -> None:
    """Print the JSON Schema of recipes, for editors that complete and check."""
    import json

    from imagereg.schema import schema as document

    text = json.dumps(document(), indent=1)
    if output is None:
        typer.echo(text)
        return
    from imagereg.running.ledger import write_beside

    write_beside(output, lambda stream: stream.write(text.encode()))
    typer.echo(f"{output} written")
