"""`imagereg demo`: simulate a raw scan, reconstruct it, show the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagereg.cli.options import FolderOption
from imagereg.errors import UsageError


def demo(
    output: FolderOption = None,
    size: Annotated[int, typer.Option(min=64, max=2048, help="Detector columns.")] = 320,
    views: Annotated[int, typer.Option(min=20, max=4000, help="Views over 180 degrees.")] = 180,
    seed: Annotated[int, typer.Option(min=0, help="Seed of phantom and noise.")] = 1,
) -> None:
    """Simulate a raw scan of a foam (counts, flats, darks, an axis off centre, rings), then reconstruct it.

    Two recipes run on the file, filtered back-projection and total variation, as they would on a scan of your
    own; the picture puts them beside the truth.
    """
    folder = output or Path("demo")
    picture = folder / "demo.png"
    if picture.exists():
        raise UsageError(f"{picture} exists; choose another folder with -o or remove it.")
    import numpy as np

    from imagereg.cli.display import follow
    from imagereg.metrics import psnr
    from imagereg.preview import write_panels
    from imagereg.recipe import Recipe
    from imagereg.running.local import run
    from imagereg.simulation import write_raw_scan

    folder.mkdir(parents=True, exist_ok=True)
    scan = folder / "scan.h5"
    typer.echo(f"simulating a raw scan of {views} views x 2 rows x {size} columns: {scan}")
    truth, axis = write_raw_scan(scan, columns=size, views=views, seed=seed)
    panels = {"truth": truth[0]}
    figures = []
    for method in ({"name": "fbp"}, {"name": "tv", "strength": 0.1}):
        recipe = Recipe.of_mapping(
            {
                "input": {"path": str(scan.resolve())},
                "preprocess": [
                    "outliers",
                    {"flatfield": {"air_columns": 6}},
                    {"rings": {"size": 3}},
                    "centre",
                ],
                "method": method,
                "output": {"folder": str(folder / str(method["name"]))},
            }
        )
        last = follow(run(recipe))
        assert last.result is not None
        image = np.asarray(last.result.image)[0]
        name = last.result.provenance["method"]
        centre = last.result.provenance["centre_of_rotation"]
        figures.append(
            f"{name}: axis on column {centre:.2f} (true {axis:.2f}), PSNR {psnr(image, truth[0]):.1f} dB"
        )
        panels[name.upper()] = image
    write_panels(panels, picture)
    typer.echo("\n".join(figures))
    typer.echo(f"picture: {picture}   recipes: {folder}/fbp/recipe.yaml, {folder}/tv/recipe.yaml")
