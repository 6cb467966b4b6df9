"""Previews of a part of a slice lie where that part lies and show what the whole shows there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari_imagereg.region import Region, cut

from imagereg.errors import UsageError
from imagereg.measurement import Measurement


def preview(workbench: Any, qtbot: Any) -> Any:
    count = len(workbench.session.runs)
    workbench.preview.button.click()
    qtbot.waitUntil(
        lambda: len(workbench.session.runs) > count or bool(workbench.footer.error()), timeout=60000
    )
    assert workbench.footer.error() == ""
    return workbench.viewer.layers[workbench.session.runs[-1].layer]


def value_at(layer: Any, world: Any) -> float:
    row, column = (round(float(x)) for x in layer.world_to_data(world)[-2:])
    return float(layer.data[row, column])


def test_a_part_of_a_scan_is_the_part_of_the_whole(
    viewer: Any, workbench: Any, qtbot: Any, tmp_path: Path
) -> None:
    from imagereg.recipe import Recipe
    from imagereg.running.local import run
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=2, views=40, seed=1)
    workbench.data.open_path(tmp_path / "scan.h5")
    workbench.session.centre = 31.5
    whole = preview(workbench, qtbot)
    workbench.preview.set_region(True)
    pixel = float(whole.scale[0])
    corner, size = np.array([-12.0, 4.0]) * pixel, np.array([16.0, 12.0]) * pixel
    end = corner + size
    box = [corner, (corner[0], end[1]), end, (end[0], corner[1])]
    viewer.layers["region"].data = [np.array(box)]
    part = preview(workbench, qtbot)
    assert part.data.shape == (16, 12)
    world = corner + np.array([5.5, 3.5]) * pixel
    assert value_at(part, world) == pytest.approx(value_at(whole, world), rel=1e-3)
    # The recipe of the part gives the part outside the viewer.
    recipe = Recipe.parse(workbench.session.runs[-1].recipe)
    *_, last = run(recipe.with_values({"output.folder": str(tmp_path / "out")}))
    assert np.array_equal(np.squeeze(np.asarray(last.result.image)), part.data)
    # Iterative methods need the whole slice.
    workbench.session.choose_method("sirt")
    assert not workbench.preview.by_region()


def test_a_part_of_an_image_lies_in_the_image(viewer: Any, workbench: Any, qtbot: Any) -> None:
    rng = np.random.default_rng(1)
    source = viewer.add_image(rng.random((40, 48), dtype=np.float32), scale=(0.5, 0.5), translate=(3, -2))
    workbench.data.use_layer(source)
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 5, "strength": 0.0})
    workbench.preview.set_region(True)
    low = np.array(source.data_to_world((8, 16)))
    high = np.array(source.data_to_world((24, 40)))
    box = [low, (low[0], high[1]), high, (high[0], low[1])]
    viewer.layers["region"].data = [np.array(box)]
    part = preview(workbench, qtbot)
    assert part.data.shape == (16, 24)
    assert np.allclose(part.data_to_world((0, 0)), low)
    assert np.allclose(part.data, source.data[8:24, 16:40], atol=1e-3)


def test_a_region_of_nothing_is_refused() -> None:
    image = Measurement(np.zeros((20, 20), dtype=np.float32))
    with pytest.raises(UsageError, match="draw it larger"):
        cut(image, Region((30, 40), (0, 10)))
