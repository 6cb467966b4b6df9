"""OME-Zarr as others read it: a validator, the reference reader and napari's reader, none of them ours."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import imagereg as ir
from imagereg.errors import UsageError
from imagereg.io import open_volume

KINDS = {
    "image": ((70, 90), "YX"),
    "large image": ((300, 270), "YX"),
    "stack": ((5, 40, 30), "ZYX"),
    "large volume": ((130, 64, 261), "ZYX"),
    "colour image": ((48, 40, 3), "YXC"),
    "large colour image": ((300, 280, 3), "YXC"),
    "single row": ((1, 9, 7), "ZYX"),
}
pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def written(kind: str, tmp_path: Path) -> tuple[Path, np.ndarray, str]:
    shape, axes = KINDS[kind]
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    voxel = [0.5, 0.25, 0.125][-(len(shape) - axes.count("C")) :]
    path = ir.write(image, tmp_path / "a.ome.zarr", voxel=voxel, unit="um", axes=axes)
    return path, image, axes


def test_a_validator_that_is_not_ours_finds_no_fault(written: Any, kind: str) -> None:
    from ome_zarr_models import open_ome_zarr

    path, image, _ = written
    found = open_ome_zarr(zarr.open_group(path, mode="r"))
    scales = found.attributes.ome.multiscales[0]
    assert {axis.unit for axis in scales.axes if axis.type == "space"} == {"micrometer"}
    assert [axis.type for axis in scales.axes] == sorted(axis.type for axis in scales.axes)
    levels = len(scales.datasets)
    assert levels == (1 if "large" not in kind else math.ceil(math.log2(max(image.shape) / 256)) + 1)


def test_the_reference_reader_has_the_same_numbers_and_edges(written: Any, kind: str) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Multiscales, Reader

    path, image, axes = written
    nodes = list(Reader(parse_url(path))())
    assert any(isinstance(spec, Multiscales) for spec in nodes[0].specs)
    order = [axis["name"].upper() for axis in nodes[0].metadata["axes"]]
    seen = np.asarray(nodes[0].data[0])
    assert np.array_equal(np.transpose(seen, [order.index(letter) for letter in axes]), image)
    scale = nodes[0].metadata["coordinateTransformations"][0][0]["scale"]
    assert scale[order.index("X")] == 0.125
    assert scale[order.index("Y")] == 0.25


def test_napari_ome_zarr_opens_it(written: Any, kind: str) -> None:
    from napari_ome_zarr import napari_get_reader

    path, image, axes = written
    reader = napari_get_reader(str(path))
    assert reader is not None
    (data, options, *_), *_ = reader(str(path))
    first = np.asarray(data[0] if isinstance(data, list) else data)
    channel = options.get("channel_axis")
    space = (
        image if "C" not in axes else np.moveaxis(image, axes.index("C"), 0 if channel is None else channel)
    )
    assert np.array_equal(first, space)
    assert tuple(options["scale"])[-2:] == (0.25, 0.125)


def test_slabs_are_validated_too(kind: str, tmp_path: Path) -> None:
    from ome_zarr_models import open_ome_zarr

    shape, axes = KINDS[kind]
    path = tmp_path / "slabs.ome.zarr"
    if axes == "YXC":
        with (
            pytest.raises(UsageError, match="give axes='CYX'"),
            open_volume(path, shape, axes=axes, voxel=1.0),
        ):
            pass
        assert not path.exists()
        return
    with open_volume(path, shape, axes=axes, voxel=1.0) as volume:
        for start in range(0, shape[0], 16):
            volume[start : start + 16] = np.ones((min(16, shape[0] - start), *shape[1:]), np.float32)
    open_ome_zarr(zarr.open_group(path, mode="r"))
