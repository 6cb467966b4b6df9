"""NumPy files, Zarr, MRC, DICOM and pictures."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import pydicom
import pytest
import zarr
from PIL import Image
from pydicom.data import get_testdata_file
from scipy.io import savemat

import imagereg as ir
from imagereg.errors import InputError, UsageError
from imagereg.io.lazy import RawArray

VALUES = np.random.default_rng(3).random((6, 4, 5)).astype(np.float32)


# ---------------------------------------------------------------------- NumPy
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_scans(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "scan.npz"
    save(path, projections=VALUES * 0.5 + 0.1, angles_deg=np.arange(6) * 30.0, pixel_um=2.5, note="a text")
    scan = ir.read(path)
    assert scan.quantity == "transmission"
    assert scan.geometry.pixel == pytest.approx(2.5e-3)
    np.testing.assert_allclose(np.rad2deg(scan.geometry.angles), np.arange(6) * 30.0)
    assert any("taken as transmission" in note for note in scan.notes)
    save(
        path,
        projections=(VALUES * 1000).astype(np.uint16),
        flats=np.full((2, 4, 5), 1000),
        angles=np.arange(6),
    )
    assert (ir.read(path).quantity, ir.read(path).flats.shape) == ("counts", (2, 4, 5))
    save(path, projections=VALUES - 0.5, angles=np.arange(6) * 30.0)
    assert ir.read(path).quantity == "line_integrals"
    save(path, sinogram=VALUES[:, 0], theta=np.arange(6) * 30.0, source_origin=100.0, source_detector=200.0)
    assert (ir.read(path).geometry.kind, ir.read(path).geometry.magnification) == ("fan", 2)


def test_large_stored_members_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    big = np.random.default_rng(0).random((30, 100, 100))
    np.savez(path, first=np.arange(3.0), image=big)
    data = ir.read(path).data
    assert isinstance(data, RawArray)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data))[7:20:3, 5], big[7:20:3, 5])


def test_tilt_series_has_its_axis_along_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "tilt.npz"
    series = (VALUES * 60000).astype(np.uint16)
    np.savez(path, tilt_series=series, angles_deg=np.linspace(-70, 70, 6), pixel_nm=3.36)
    scan = ir.read(path)
    assert scan.quantity == "line_integrals"
    np.testing.assert_array_equal(scan.data, series.transpose(0, 2, 1))
    assert (scan.geometry.rows, scan.geometry.columns) == (5, 4)
    assert scan.geometry.pixel == pytest.approx(3.36e-6)
    assert "tilt axis lies along the last axis" in scan.notes[0]
    np.testing.assert_array_equal(ir.read(path, axes="views,rows,columns").data, series)
    np.savez(path, tilt_series=series, angles_deg=np.linspace(-70, 70, 6), tilt_axis="middle axis")
    np.testing.assert_array_equal(ir.read(path).data, series)


@pytest.mark.parametrize("kind", ["npz", "mat", "h5"])
def test_arrays_of_other_names(tmp_path: Path, kind: str) -> None:
    """Names in the manner of laboratories are understood, and a hint can name an array of the file."""
    path = tmp_path / f"a.{kind}"
    data, angles = np.zeros((126, 36)) + VALUES[0, 0, 0], np.linspace(0, 3.1, 126)

    def save(**arrays: Any) -> None:
        if kind == "npz":
            np.savez(path, **arrays)
        elif kind == "mat":
            savemat(path, arrays)
        else:
            with h5py.File(path, "w") as file:
                for name, array in arrays.items():
                    file[f"group/{name}"] = array

    save(sinoRD=data, anglesRad=angles)
    scan = ir.read(path)
    np.testing.assert_allclose(scan.geometry.angles, angles)
    assert (scan.geometry.views, scan.geometry.columns) == (126, 36)
    save(sinoRD=data, turn=np.rad2deg(angles), other=angles)
    place = "group/" if kind == "h5" else ""
    scan = ir.read(path, angles=f"file:{place}turn", angle_unit="degrees")
    np.testing.assert_allclose(scan.geometry.angles, angles)
    with pytest.raises(UsageError, match=r"no such array.*turn"):
        ir.read(path, angles=f"file:{place}turns")


def test_npz_with_views_on_another_axis(tmp_path: Path) -> None:
    path = tmp_path / "turned.npz"
    np.savez(path, sinogram=VALUES[:, 0].T, angles=np.arange(6) * 30.0)
    scan = ir.read(path)
    np.testing.assert_array_equal(scan.data, VALUES[:, 0])
    assert any("views, columns" in note or "columns, views" in note for note in scan.notes)


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(VALUES))
    np.testing.assert_array_equal(ir.read(path).data[2:, ::-1], VALUES[2:, ::-1])
    assert ir.read(path, angles="linspace(0,180,N)").geometry.views == 6
    np.save(path, VALUES[..., :3])
    assert ir.read(path, axes="YXC").axes == "YXC"
    with pytest.raises(UsageError, match="one array"):
        ir.read(path, dataset="a")
    np.save(path, np.arange(4.0))
    with pytest.raises(InputError, match="no image and no scan"):
        ir.read(path)
    np.save(path, np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="Python objects"):
        ir.read(path)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("kept", [0.1, 0.6, 0.95])
def test_truncated_numpy_files(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    big = np.random.default_rng(0).random((4, 200, 200))
    np.save(path, big) if name.endswith("y") else np.savez(path, image=big)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"a\.np[yz]: "):
        ir.read(path)


def test_npz_without_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=np.arange(4.0), objects=np.array([None]))
    with pytest.raises(InputError, match="no array of numbers"):
        ir.read(tmp_path / "few.npz")


# ---------------------------------------------------------------------- Zarr
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    path = tmp_path / "image.zarr"
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    data = VALUES[None, :3, :, None]  # t, c, z, y, x with one time point and one plane
    group.create_array("full", data=data, chunks=(1, 1, 1, 1, 3))
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [1, 1, 4, 3, 2]}]
    multiscale = {"version": version, "axes": axes, "datasets": [
        {"path": "full", "coordinateTransformations": scale}]}  # fmt: skip
    if version == "0.4":
        group.attrs["multiscales"] = [multiscale]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscale]}
    # (1, 3, 4, 1, 5): colour has to go last, so the volume is (z, y, x, c)
    image = ir.read(path)
    assert image.axes == "ZYXC"
    assert image.pixel == pytest.approx((4e-3, 3e-3, 2e-3))
    np.testing.assert_array_equal(image.data[...], data[0].transpose(1, 2, 3, 0))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image.data))[1], image.data[1])


def test_plain_zarr(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", data=VALUES, chunks=(2, 2, 2))
    assert array.ndim == 3
    np.testing.assert_array_equal(ir.read(tmp_path / "a.zarr").data[1:5:2], VALUES[1:5:2])
    assert ir.read(tmp_path / "a.zarr", angles="linspace(0,180,N)").geometry.views == 6
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("projections", data=VALUES + 0.01)
    group.create_array("angles_deg", data=np.arange(6) * 30.0)
    scan = ir.read(tmp_path / "g.zarr")
    assert scan.geometry.views == 6
    np.testing.assert_array_equal(scan.data[2], VALUES[2] + np.float32(0.01))


def test_broken_zarr(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "b.zarr")
    group.attrs["ome"] = {"multiscales": [{"axes": [], "datasets": [{"path": "0"}]}]}
    with pytest.raises(InputError, match="full resolution '0' is missing"):
        ir.read(tmp_path / "b.zarr")
    (tmp_path / "b.zarr" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"b\.zarr"):
        ir.read(tmp_path / "b.zarr")


# ---------------------------------------------------------------------- MRC
@pytest.fixture
def series(tmp_path: Path) -> Path:
    path = tmp_path / "series.mrc"
    with mrcfile.new(path) as file:
        file.set_data((VALUES * 1000).astype(np.int16))
        file.voxel_size = (33.6, 33.6, 33.6)
    return path


def test_mrc(series: Path) -> None:
    image = ir.read(series)
    assert image.quantity == "image"
    assert image.pixel == pytest.approx((3.36e-6,) * 3)
    np.testing.assert_array_equal(image.data[...], (VALUES * 1000).astype(np.int16))
    series.with_suffix(".rawtlt").write_text("\n".join(map(str, np.linspace(-60, 60, 6))))
    scan = ir.read(series)
    assert scan.quantity == "line_integrals"
    np.testing.assert_allclose(np.rad2deg(scan.geometry.angles), np.linspace(-60, 60, 6))
    assert (scan.geometry.rows, scan.geometry.columns) == (4, 5)
    assert scan.geometry.pixel == pytest.approx(3.36e-6)
    volume = series.rename(series.with_suffix(".rec"))
    assert ir.read(volume).quantity == "image"


@pytest.mark.parametrize("kept", [500, 1100])
def test_truncated_mrc(series: Path, kept: int) -> None:
    series.write_bytes(series.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"series\.mrc: the file is (shorter|cut short)"):
        ir.read(series)


# ---------------------------------------------------------------------- DICOM
@pytest.fixture
def series_folder(tmp_path: Path) -> Path:
    """Five slices of one series under names that sort otherwise, 2.5 mm apart, and a stray text."""
    folder = tmp_path / "series"
    folder.mkdir()
    template = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    stored = template.pixel_array
    for number in range(5):
        template.ImagePositionPatient = [0, 0, 10 - 2.5 * number]
        template.RescaleIntercept = -1024 + number
        template.PixelData = (stored + number).astype(stored.dtype).tobytes()
        template.save_as(folder / f"slice{number}.dcm")
    (folder / "readme.txt").write_text("hello")
    return folder


def test_dicom(series_folder: Path) -> None:
    image = ir.read(series_folder)
    assert image.data.shape == (5, 128, 128)
    assert image.pixel == pytest.approx((2.5, 0.661468, 0.661468))
    stored = pydicom.dcmread(get_testdata_file("CT_small.dcm")).pixel_array.astype(np.float32)
    # The slice with the smallest z was written last.
    np.testing.assert_array_equal(image.data[0], stored + 4 - 1024 + 4)
    np.testing.assert_array_equal(image.data[3:, 7], np.stack([stored[7] + 2 * n - 1024 for n in (1, 0)]))
    assert any("Hounsfield" in note for note in image.notes)
    mu = ir.read(series_folder, mu_water=0.0193)
    np.testing.assert_allclose(mu.data[4], (1 + (stored - 1024) / 1000) * 0.0193, rtol=1e-5)
    with pytest.raises(UsageError, match="mu_water"):
        ir.read(series_folder, mu_water=-1)
    single = ir.read(series_folder / "slice0.dcm")
    np.testing.assert_array_equal(single.data, stored - 1024)
    assert single.axes == "YX"


def test_dicom_folders_of_several_series_and_uneven_slices(series_folder: Path) -> None:
    slice0 = pydicom.dcmread(series_folder / "slice0.dcm")
    slice0.ImagePositionPatient = [0, 0, 14]
    slice0.save_as(series_folder / "slice0.dcm")
    assert any("2.5 to 6.5 mm apart" in note for note in ir.read(series_folder).notes)
    slice0.SeriesInstanceUID = "1.2.3"
    slice0.save_as(series_folder / "slice0.dcm")
    image = ir.read(series_folder)
    assert image.data.shape[0] == 4
    assert any("1.2.3 (1 slices)" in note for note in image.notes)
    assert ir.read(series_folder, entry="1.2.3").data.shape == (128, 128)
    with pytest.raises(UsageError, match="no series '9'"):
        ir.read(series_folder, entry="9")


def test_broken_dicom(series_folder: Path, tmp_path: Path) -> None:
    whole = (series_folder / "slice1.dcm").read_bytes()
    (series_folder / "slice1.dcm").write_bytes(whole[: len(whole) // 2])
    data = ir.read(series_folder).data
    with pytest.raises(InputError, match=r"slice1\.dcm: cannot be read as DICOM"):
        _ = data[...]
    for file in series_folder.glob("*.dcm"):
        file.write_bytes(b"\0" * 128 + b"DICM" + b"rubbish")
    with pytest.raises(InputError, match="series"):
        ir.read(series_folder)


# ---------------------------------------------------------------------- pictures
@pytest.mark.parametrize(
    ("mode", "axes", "dtype"),
    [("L", "YX", np.uint8), ("RGB", "YXC", np.uint8), ("RGBA", "YXC", np.uint8), ("I;16", "YX", np.uint16),
     ("P", "YXC", np.uint8), ("1", "YX", np.uint8), ("LA", "YX", np.uint8)],
)  # fmt: skip
def test_pictures(tmp_path: Path, mode: str, axes: str, dtype: type) -> None:
    path = tmp_path / "a.png"
    grey = (VALUES[0] * 255).astype(np.uint8)
    picture = (
        Image.fromarray(grey.astype(np.uint16) * 200)
        if mode == "I;16"
        else Image.fromarray(grey).convert(mode)
    )
    picture.save(path)
    image = ir.read(path)
    assert (image.axes, image.data.dtype, image.data.shape[:2]) == (axes, dtype, grey.shape)
    if mode == "L":
        np.testing.assert_array_equal(image.data, grey)
    if mode == "I;16":
        np.testing.assert_array_equal(image.data, grey.astype(np.uint16) * 200)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"a\.png"):
        ir.read(path)
