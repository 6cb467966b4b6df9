"""CIL's NeXus files: geometry, order of axes, packed values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import imagereg as ir
from imagereg.errors import InputError

VIEWS, ROWS, COLUMNS = 6, 4, 7
DATA = np.random.default_rng(5).random((VIEWS, ROWS, COLUMNS)).astype(np.float32) - 0.2
THETA = np.linspace(0, 300, VIEWS)


def written(
    path: Path, vectors: dict[str, Any], *, unit: str = "degree", origin: str = "bottom-left"
) -> Path:
    """A scan as NEXUSDataWriter lays it out."""
    with h5py.File(path, "w") as file:
        file.attrs["creator"] = np.bytes_("NEXUSDataWriter.py")
        data = file.create_dataset("entry1/tomo_entry/data/data", data=DATA)
        data.attrs.update(data_type="AcquisitionData", dim0="angle", dim1="vertical", dim2="horizontal")
        data.attrs.update(dimension="3D", num_channels=1, panel_origin=origin, num_pixels_h=COLUMNS)
        data.attrs.update(pixel_size_h=0.4, pixel_size_v=0.5, num_pixels_v=ROWS)
        data.attrs["geometry"] = "cone" if "source/position" in vectors else "parallel"
        config = file.create_group("entry1/tomo_entry/config")
        for place, vector in vectors.items():
            config[place] = np.asarray(vector, np.float32)
        config["angles"] = THETA if unit == "degree" else np.deg2rad(THETA)
        config["angles"].attrs.update(
            angle_unit=unit, initial_angle=10.0 if unit == "degree" else np.deg2rad(10)
        )
    return path


CONE = {
    "source/position": (1.5, -100, 0.0),
    "detector/position": (-2.0, 150, 3.0),
    "detector/direction_x": (1, 0, 0),
    "detector/direction_y": (0, 0, 1),
    "rotation_axis/position": (0.5, 0, 0),
    "rotation_axis/direction": (0, 0, 1),
}


@pytest.mark.parametrize("unit", ["degree", "radian"])
@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_cone_beams_lie_where_cil_puts_them(tmp_path: Path, unit: str, turn: float) -> None:
    """Vectors of CIL's view theta are R(-theta - initial) times those of the file, the axis in the origin."""
    about = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    vectors = {place: about @ np.asarray(vector, float) for place, vector in CONE.items()}
    scan = ir.read(written(tmp_path / "a.nxs", vectors, unit=unit))
    assert scan.source.format == "cil"
    ours = scan.geometry.vectors()
    for view, theta in enumerate(np.deg2rad(-THETA - 10)):
        turned = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
        axis = vectors["rotation_axis/position"]
        for name, place in (("source", "source/position"), ("centre", "detector/position")):
            there = turned @ (vectors[place] - axis)
            np.testing.assert_allclose(getattr(ours, name)[view], there, atol=1e-4)
        np.testing.assert_allclose(
            ours.column[view], turned @ vectors["detector/direction_x"] * 0.4, atol=1e-6
        )
        np.testing.assert_allclose(ours.row[view], [0, 0, 0.5], atol=1e-6)


def test_parallel_beams_and_panels_from_the_top_right(tmp_path: Path) -> None:
    vectors = {k: v for k, v in CONE.items() if k != "source/position"} | {"ray/direction": (0, 1, 0)}
    scan = ir.read(written(tmp_path / "a.nxs", vectors, origin="top-right"))
    assert scan.geometry.kind == "parallel"
    np.testing.assert_array_equal(np.asarray(scan.data), DATA[:, ::-1, ::-1])
    np.testing.assert_allclose(
        scan.geometry.vectors().centre[:, :2].max(), 2.5 * np.cos(np.deg2rad(10)), rtol=0.2
    )
    np.testing.assert_allclose(np.linalg.norm(scan.geometry.vectors().centre, axis=1), 2.5, rtol=1e-6)


def test_packed_values_and_orders_of_axes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nxs", CONE)
    with h5py.File(path, "a") as file:
        attributes = dict(file["entry1/tomo_entry/data/data"].attrs)
        del file["entry1/tomo_entry/data/data"]
        packed = np.round(DATA.transpose(1, 0, 2) * 1000 + 300).astype(np.uint16)
        data = file.create_dataset("entry1/tomo_entry/data/data", data=packed)
        data.attrs.update(
            attributes | {"dim0": "vertical", "dim1": "angle", "scale": 1000.0, "offset": 300.0}
        )
    np.testing.assert_allclose(np.asarray(ir.read(path).data), DATA, atol=1e-3)


def test_tilted_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tilted"):
        ir.read(written(tmp_path / "a.nxs", CONE | {"rotation_axis/direction": (0, 0.1, 0.99)}))


def test_images_of_cil(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        data = file.create_dataset("entry1/tomo_entry/data/data", data=DATA)
        data.attrs.update(data_type="ImageData", dim0="vertical", dim1="horizontal_y", dim2="horizontal_x")
        data.attrs.update(voxel_size_x=0.1, voxel_size_y=0.2, voxel_size_z=0.3)
    image = ir.read(tmp_path / "a.nxs")
    assert (image.axes, image.pixel) == ("ZYX", (0.3, 0.2, 0.1))
