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
    with pytest.raises(UsageError, match="called projections and no angles"):
        ir.read(folder)
    assert ir.read(folder, quantity="image").quantity == "image"


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
    with pytest.raises(UsageError, match="flats or darks and no angles"):
        ir.read(folder)
    assert ir.read(folder, quantity="image").axes == "ZYX"


def test_angles_beside_make_a_scan(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scan")
    (folder / "angles.txt").write_text("\n".join(str(15.0 * n) for n in range(12)))
    scan = ir.read(folder)
    np.testing.assert_allclose(np.rad2deg(scan.geometry.angles), 15.0 * np.arange(12))
    assert "angles were found in angles.txt." in scan.notes
    (folder / "angles.txt").write_text("\n".join(str(15.0 * n) for n in range(13)))
    with pytest.raises(InputError, match="13 angles for 12 frames"):
        ir.read(folder)
    (folder / "angles.txt").write_text("1\n2\n")
    image = ir.read(folder, quantity="image")
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
    data = ir.read(broken, quantity="image").data
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


@pytest.mark.parametrize(
    ("projections", "flats", "darks"),
    [
        ("bone_{:04d}.tif", "ref{:04d}_0000.tif", "darkend{:04d}.tif"),
        ("S1_HR_{:03d}.tif", "S1_HR_FlatAfter_{:03d}.tif", "S1_HR_dark_{:03d}.tif"),
        ("20210301_tooth_{}.tif", "20210301_tooth_io_{}.tif", "20210301_tooth_di_{}.tif"),
        ("diref_x_{}.tif", "diref_x_ob_{}.tif", "diref_x_DF_{}.tif"),
        ("my_ref_sample_{}.tif", "my_ref_sample_open_{}.tif", "my_ref_sample_darks_{}.tif"),
    ],
)
def test_roles_anywhere_in_names(tmp_path: Path, projections: str, flats: str, darks: str) -> None:
    folder = folder_of(tmp_path / "scan", name=projections)
    folder_of(folder, FRAMES[:2], flats)
    folder_of(folder, FRAMES[2:5], darks)
    scan = ir.read(folder, angles="linspace(0,180,N)")
    np.testing.assert_array_equal(scan.data[...], FRAMES)
    np.testing.assert_array_equal(scan.flats[...], FRAMES[:2])
    np.testing.assert_array_equal(scan.darks[...], FRAMES[2:5])


def test_roles_in_folders_of_a_folder(tmp_path: Path) -> None:
    folder_of(tmp_path / "scan" / "raw", name="x_{}.tif")
    folder_of(tmp_path / "scan" / "raw" / "Flat_After", FRAMES[:2], "x_{}.tif")
    scan = ir.read(tmp_path / "scan", angles="linspace(0,180,N)")
    assert (scan.data.shape, scan.flats.shape) == (FRAMES.shape, FRAMES[:2].shape)


def test_a_frame_missing_in_the_numbering_is_no_shorter_scan(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scan")
    (folder / "proj_7.tif").unlink()
    for hints in ({}, {"quantity": "image"}, {"angles": "linspace(0,180,N)"}):
        with pytest.raises(InputError, match=r"1 frames are missing in the numbering \(proj_7"):
            ir.read(folder, **hints)
    angles = [15.0 * n for n in range(12) if n != 7]
    assert ir.read(folder, angles=angles).data.shape[0] == 11
    pictures = folder_of(tmp_path / "pictures", name="p{0}{0}.tif")
    assert ir.read(pictures).data.shape[0] == 12


def test_two_series_in_one_folder_are_no_scan(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scan", name="a_{}.tif")
    folder_of(folder, FRAMES[:4], "b_{}.tif")
    with pytest.raises(InputError, match=r"several names, a_# \(12\), b_# \(4\)"):
        ir.read(folder, angles="linspace(0,180,N)")
    assert ir.read(folder).data.shape[0] == 16


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (("ref0000_0000", "ref0001_0000", "ref0000_0006"), (0.0, 0.0, 6.0)),
        (("Flat_Before_1", "Flat_After_1"), (0.0, 5.0)),
        (("flat_end", "flat_start"), (5.0, 0.0)),
        (("flat_0001", "flat_0002"), None),
    ],
)
def test_names_of_flats_tell_when_they_were_taken(
    tmp_path: Path, names: tuple[str, ...], times: tuple[float, ...] | None
) -> None:
    for view in range(6):
        tifffile.imwrite(tmp_path / f"scan_{view:04d}.tif", np.full((4, 20), 500, np.uint16))
    for name in names:
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((4, 20), 1000, np.uint16))
    scan = ir.read(tmp_path, angles="linspace(0, 180, N)", quantity="counts")
    told = None if times is None else sorted(times)
    assert (None if scan.flat_times is None else sorted(scan.flat_times)) == told
