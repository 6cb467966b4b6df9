"""Frames stay frames: images with a physics, and scans of which one row is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imagereg.io import read
from imagereg.recipe import Recipe
from imagereg.running.local import run


@pytest.mark.parametrize("shape", [(20, 24), (2, 20, 24)])
@pytest.mark.parametrize(
    ("physics", "finer"),
    [({"kind": "blur", "blur": 1.2}, 1), ({"kind": "downsampling", "factor": 2}, 2)],
    ids=["blur", "downsampling"],
)
def test_images_with_a_physics_come_back_in_their_layout(
    tmp_path: Path, shape: tuple[int, ...], physics: dict[str, object], finer: int
) -> None:
    np.save(tmp_path / "picture.npy", np.random.default_rng(0).random(shape, dtype=np.float32))
    recipe = Recipe.of_mapping(
        {
            "input": str(tmp_path / "picture.npy"),
            "physics": physics,
            "method": {"name": "tv", "iterations": 2},
            "output": {"folder": str(tmp_path / "out"), "formats": ["npy"]},
            "execution": {"slab": 1},
        }
    )
    *_, last = run(recipe)
    wanted = (*shape[:-2], finer * shape[-2], finer * shape[-1])
    assert last.result is not None
    assert last.result.image.shape == wanted
    assert np.load(tmp_path / "out" / "image.npy").shape == wanted


def test_one_row_of_a_scan_is_reconstructed_as_in_the_whole(tmp_path: Path) -> None:
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=48, rows=3, views=30, seed=1)
    images = {}
    resolved: Recipe | None = None
    for name, rows in (("whole", None), ("one", "1:2")):
        steps = ["flatfield", {"centre": {"column": 23.5}}] if resolved is None else resolved.preprocess
        recipe = Recipe.of_mapping(
            {
                "input": {"path": str(tmp_path / "scan.h5"), "rows": rows},
                "preprocess": steps,
                "method": {"name": "sirt", "iterations": 3},
                "output": {"folder": str(tmp_path / name), "formats": ["ome-zarr"]},
            }
        )
        assert list(run(recipe))
        resolved = Recipe.load(tmp_path / name / "recipe.yaml")
        images[name] = np.asarray(read(tmp_path / name / "image.ome.zarr").data[...])
    assert images["one"].shape == (1, 48, 48)
    # What was found in the whole scan is written in its recipe, read noise included.
    assert np.allclose(images["one"][0], images["whole"][1], rtol=1e-4, atol=1e-4 * images["whole"].max())
