"""TIFF files and folders."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import imagereg as ir
from imagereg.errors import InputError, UsageError
from imagereg.io.lazy import RawArray
from imagereg.io.readers.tiff import TiffPages
from imagereg.io.tiff_folder import natural

FRAMES = np.random.default_rng(1).integers(0, 60000, (12, 4, 6), dtype=np.uint16)


def folder_of(path: Path, frames: Any = FRAMES, name: str = "proj_{}.tif") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        tifffile.imwrite(path / name.format(number), frame)
    return path


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, RawArray),
        ({"byteorder": ">"}, RawArray),
        ({"bigtiff": True}, RawArray),
        ({"imagej": True}, RawArray),
        ({"ome": True}, RawArray),
        ({"compression": "zlib"}, TiffPages),
        ({"compression": "zlib", "tile": (16, 16), "ome": True}, TiffPages),
    ],
)
def test_stacks(tmp_path: Path, options: dict[str, Any], kind: type) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, FRAMES, photometric="minisblack", **options)
    image = ir.read(path)
    assert type(image.data) is kind
    assert (image.quantity, image.axes, image.data.dtype) == ("image", "ZYX", np.uint16)
    np.testing.assert_array_equal(image.data[...], FRAMES)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(image.data))[9:2:-3, 1:, 2], FRAMES[9:2:-3, 1:, 2]
    )
    scan = ir.read(path, angles="linspace(0, 180, N)", angle_unit="degrees")
    assert (scan.quantity, scan.geometry.views, scan.geometry.rows, scan.geometry.columns) == (
        "counts",
        12,
        4,
        6,
    )
    np.testing.assert_array_equal(scan.data[3:5], FRAMES[3:5])


def test_single_image_sinogram_and_colour(tmp_path: Path) -> None:
    path = tmp_path / "one.tif"
    tifffile.imwrite(path, FRAMES[0])
    assert ir.read(path).axes == "YX"
    scan = ir.read(path, angles=[0, 45, 90, 135])
    assert scan.data.shape == (4, 6)
    assert ir.read(path, angles=np.arange(6) * 30, axes="columns,views").data.shape == (6, 4)
    tifffile.imwrite(path, FRAMES[:3].transpose(1, 2, 0).astype(np.uint8), photometric="rgb")
    colour = ir.read(path)
    assert (colour.axes, colour.data.shape) == ("YXC", (4, 6, 3))
    with pytest.raises(InputError, match="colour"):
        ir.read(path, angles=[0, 45, 90, 135])


def test_pixel_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    sizes = {"PhysicalSizeX": 2.0, "PhysicalSizeY": 3.0, "PhysicalSizeZ": 4000.0}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "nm"}
    tifffile.imwrite(path, FRAMES, ome=True, metadata={"axes": "ZYX", **sizes, **units})
    image = ir.read(path)
    assert (image.pixel, image.unit) == (pytest.approx((4e-3, 3e-3, 2e-3)), "mm")
    scan = ir.read(path, angles="linspace(0,180,N)")
    assert (scan.geometry.pixel, scan.geometry.row_edge) == (pytest.approx(2e-3), pytest.approx(3e-3))
    path = tmp_path / "b.tif"
    tifffile.imwrite(
        path,
        FRAMES,
        imagej=True,
        resolution=(500, 250),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 7.0},
    )
    assert ir.read(path).pixel == pytest.approx((7e-3, 4e-6, 2e-6))
    tifffile.imwrite(path, FRAMES, resolution=(72, 72), resolutionunit="INCH")
    assert ir.read(path).pixel == ()
    assert ir.read(path, pixel=(3, 2, 1)).pixel == (3, 2, 1)
    with pytest.raises(UsageError, match="each of the axes ZYX"):
        ir.read(path, pixel=(2, 1))


def test_folder_in_natural_order(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scan")
    scan = ir.read(folder, angles="linspace(0,180,N)")
    np.testing.assert_array_equal(scan.data[...], FRAMES)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scan.data))[[11, 2], 1], FRAMES[[11, 2], 1])
    assert [p.name for p in natural(map(Path, ["b10", "b9", "a", "b", "B1"]))] == [
        "a",
        "b",
        "B1",
        "b9",
        "b10",
    ]
    assert ir.read(folder).quantity == "image"


@pytest.mark.parametrize(
    ("flats", "darks"), [("flat_{}.tif", "dark_{}.tif"), ("ff{}.tif", "df{}.tif"), ("OB-{}.tif", "DC_{}.tif")]
)
@pytest.mark.parametrize("nested", [False, True])
def test_flats_and_darks_by_name(tmp_path: Path, flats: str, darks: str, nested: bool) -> None:
    folder = tmp_path / "scan"
    if nested:
        folder_of(folder / "Tomo", name="data_{}.tif")
        folder_of(folder / flats.format(""), FRAMES[:2], "x{}.tif")
        folder_of(folder / darks.format(""), FRAMES[2:5], "x{}.tif")
    else:
        folder_of(folder, name="data_{}.tif")
        folder_of(folder, FRAMES[:2], flats)
        folder_of(folder, FRAMES[2:5], darks)
    scan = ir.read(folder, angles="linspace(0,180,N)")
    assert scan.data.shape == FRAMES.shape
    np.testing.assert_array_equal(scan.flats[...], FRAMES[:2])
    np.testing.assert_array_equal(scan.darks[...], FRAMES[2:5])
    assert "2 flats were found" in " ".join(scan.notes)
    assert any("no angles are given" in note for note in ir.read(folder).notes)


def test_angles_beside_make_a_scan(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scan")
    (folder / "angles.txt").write_text("\n".join(str(15.0 * n) for n in range(12)))
    scan = ir.read(folder)
    np.testing.assert_allclose(np.rad2deg(scan.geometry.angles), 15.0 * np.arange(12))
    assert "angles were found in angles.txt." in scan.notes
    (folder / "angles.txt").write_text("1\n2\n")
    image = ir.read(folder)
    assert image.quantity == "image"
    assert "2 numbers for 12 frames" in image.notes[0]


def test_one_stack_and_its_flat_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    tifffile.imwrite(folder / "sample.tif", FRAMES)
    tifffile.imwrite(folder / "white.tif", FRAMES[0])
    scan = ir.read(folder, angles="linspace(0,180,N)")
    assert isinstance(scan.data, RawArray)
    np.testing.assert_array_equal(scan.flats, FRAMES[:1])


def test_what_is_wrong_with_folders(tmp_path: Path) -> None:
    sizes = folder_of(tmp_path / "sizes")
    tifffile.imwrite(sizes / "proj_5.tif", FRAMES[5, :3])
    with pytest.raises(
        InputError, match=r"different sizes, proj_0.tif is \(4, 6\) and proj_5.tif is \(3, 6\)"
    ):
        ir.read(sizes)
    only = folder_of(tmp_path / "only", name="flat_{}.tif")
    with pytest.raises(InputError, match="no TIFF file in it that could be"):
        ir.read(only)
    two = tmp_path / "two"
    folder_of(two / "alpha")
    folder_of(two / "beta")
    with pytest.raises(InputError, match="alpha, beta"):
        ir.read(two)
    empty = folder_of(tmp_path / "empty")
    (empty / "proj_3.tif").write_bytes(b"")
    with pytest.raises(InputError, match=r"proj_3\.tif: the file is empty"):
        ir.read(empty)
    broken = folder_of(tmp_path / "broken")
    data = ir.read(broken).data
    (broken / "proj_3.tif").write_bytes((broken / "proj_4.tif").read_bytes()[:150])
    with pytest.raises(InputError, match="broken"):
        data[3]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [0.01, 0.6, 0.97])
def test_truncated_files(tmp_path: Path, compression: str | None, kept: float) -> None:
    path = tmp_path / "stack.tif"
    noise = np.random.default_rng(0).random((12, 40, 60)).astype(np.float32)
    tifffile.imwrite(path, noise, compression=compression)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"stack\.tif"):
        _ = ir.read(path).data[...]


def test_pages_of_different_sizes(tmp_path: Path) -> None:
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(FRAMES[0])
        file.write(FRAMES[1, :2])
    with pytest.raises(InputError, match="different sizes"):
        ir.read(path)
