"""A grid smaller than the object: iterative methods work on all of it and give back what was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preprocess_scans import ellipses, noisy, project
from test_half_acquisition import KINDS, beam, raster

import imagereg as ir
from imagereg.geometry import Volume
from imagereg.running.local import run

RADIUS = 44  # columns from the axis to the rim of the object


def part(kind: str, photons: float = 1e5) -> tuple[ir.Measurement, np.ndarray]:
    """A scan with a grid of 50 x 40 pixels within the object, aside of its middle, and the truth there."""
    geometry = beam(kind, 96)
    edge = geometry.pixel / geometry.magnification
    radius = RADIUS * edge
    shapes = ellipses(3, size=0.9) * np.array([radius] * 4 + [1, 1 / radius])
    whole = raster(shapes, Volume((200, 200), edge))
    sums = noisy(project(ellipses(3, size=0.9), geometry, radius), photons, np.random.default_rng(0))
    volume = Volume((50, 40), edge, (3 * edge, -5 * edge))
    return ir.Measurement(sums, geometry=geometry, volume=volume), whole[80:130, 83:123]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "iterations"), [("sirt", 60), ("cgls", 15), ("tv", 60)])
def test_values_inside_are_right_and_the_outcome_says_how(kind: str, method: str, iterations: int) -> None:
    scan, truth = part(kind)
    whole = ir.reconstruct(scan, method, iterations=iterations)
    alone = ir.reconstruct(scan, method, iterations=iterations, cover=False)
    assert whole.image.shape == alone.image.shape == truth.shape

    def bias(result: ir.Result) -> float:
        return float(result.image.mean() / truth.mean() - 1)

    assert abs(bias(whole)) < 0.01 < 0.2 < bias(alone)
    # The crop lies where the grid was asked for, to the pixel.
    shifted = np.roll(whole.image, 1, axis=1)
    assert np.linalg.norm(whole.image - truth) < 0.5 * np.linalg.norm(shifted - truth)
    assert any("worked on 96 x 96 and that part was cut out" in note for note in whole.provenance["notes"])
    assert any("values inside are too high" in note for note in alone.provenance["notes"])


def test_grids_that_hold_the_object_and_methods_that_do_not_mind_are_left_alone() -> None:
    scan, _ = part("parallel")
    assert not any("grid:" in note for note in ir.reconstruct(scan, "fbp").provenance["notes"])
    small = project(ellipses(3, size=0.9), scan.geometry, 18.0)  # type: ignore[arg-type]
    for photons in (1e3, 1e6):
        held = replace(scan, data=noisy(small, photons, np.random.default_rng(1)))
        held = replace(held, volume=Volume((50, 50), 1.0))
        assert not any("grid:" in n for n in ir.reconstruct(held, "cgls", iterations=3).provenance["notes"])


def test_a_recipe_does_the_same_in_slabs(tmp_path: Path) -> None:
    scan, _ = part("parallel")
    assert scan.volume is not None
    rows = np.stack([np.zeros_like(scan.data), scan.data, scan.data], axis=1)
    np.save(tmp_path / "scan.npy", rows)
    grid = {"shape": [50, 40], "voxel": 1.0, "centre": [3.0, -5.0]}
    values: dict[str, Any] = {
        "input": {
            "path": str(tmp_path / "scan.npy"),
            "hints": {"angles": np.rad2deg(scan.geometry.angles).tolist(), "pixel": 1.0},  # type: ignore[union-attr]
        },
        "physics": {"volume": grid},
        "method": {"name": "cgls", "iterations": 15},
        "output": {"folder": str(tmp_path / "out"), "formats": ["npy"]},
        "execution": {"slab": 2},
    }
    *_, last = run(ir.Recipe.of_mapping(values))
    image = np.load(tmp_path / "out" / "image.npy")
    assert image.shape == (3, 50, 40)
    alone = ir.reconstruct(scan, "cgls", iterations=15).image
    assert np.abs(image[1] - alone).max() < 1e-3 * np.abs(alone).max()
    assert last.result is not None
    assert any("cut out" in note for note in last.result.provenance["notes"])
