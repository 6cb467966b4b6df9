"""MATLAB files of version 5 and 7.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

import imagereg as ir
from imagereg.errors import InputError, UsageError

SINOGRAM = np.random.default_rng(2).random((9, 5))


def scan_struct(views: int = 9, **changes: Any) -> dict[str, Any]:
    parameters = {
        "distanceSourceOrigin": 400.0,
        "distanceSourceDetector": 600.0,
        "distanceUnit": "mm",
        "pixelSize": 0.05,
        "pixelSizePost": 0.2,
        "effectivePixelSizePost": 0.2 * 400 / 600,
        "numDetectorsPost": 5,
        "angles": np.arange(views) * 40.0,
    }
    parameters.update(changes)
    return {
        "type": "2D",
        "sinogram": SINOGRAM[:views],
        "parameters": {key: value for key, value in parameters.items() if value is not None},
    }


def save73(path: Path, variables: dict[str, Any]) -> None:
    """MATLAB's HDF5: a 512-byte header, axes the other way round, structs as groups, texts as codes."""
    with h5py.File(path, "w", userblock_size=512) as file:

        def put(group: Any, name: str, value: Any) -> None:
            if isinstance(value, dict):
                child = group.create_group(name)
                child.attrs["MATLAB_class"] = np.bytes_("struct")
                for key, inner in value.items():
                    put(child, key, inner)
            elif isinstance(value, str):
                group[name] = np.array([[ord(c)] for c in value], np.uint16)
                group[name].attrs["MATLAB_class"] = np.bytes_("char")
            else:
                group[name] = np.atleast_2d(value).T
                group[name].attrs["MATLAB_class"] = np.bytes_("double")

        for name, value in variables.items():
            put(file, name, value)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b" "))


SAVE = {"5": savemat, "7.3": save73}


@pytest.mark.parametrize("version", SAVE)
def test_scan_structs(tmp_path: Path, version: str) -> None:
    path = tmp_path / "scan.mat"
    SAVE[version](
        path, {"CtDataLimited": scan_struct(4), "CtDataFull": scan_struct(), "angles": np.arange(3.0)}
    )
    scan = ir.read(path)
    geometry = scan.geometry
    assert (scan.source.format, scan.source.entry) == ("mat", "CtDataFull.sinogram")
    assert scan.quantity == "line_integrals"
    np.testing.assert_array_equal(np.asarray(scan.data), SINOGRAM)
    assert (geometry.kind, geometry.source_origin, geometry.source_detector) == ("fan", 400, 600)
    assert (geometry.pixel, geometry.centre_of_rotation) == (pytest.approx(0.2), 2.0)
    np.testing.assert_allclose(np.rad2deg(geometry.angles), np.arange(9) * 40.0)
    assert any("CtDataFull was taken" in note for note in scan.notes)
    limited = ir.read(path, entry="CtDataLimited")
    assert limited.data.shape == (4, 5)
    with pytest.raises(
        UsageError, match=r"no struct 'CtData'.*CtDataLimited, CtDataFull|CtDataFull, CtDataLimited"
    ):
        ir.read(path, entry="CtData")


def test_other_ways_to_say_the_geometry(tmp_path: Path) -> None:
    path = tmp_path / "scan.mat"
    savemat(path, {"CtData": scan_struct(pixelSizePost=None, pixelSize=None)})
    assert ir.read(path).geometry.pixel == pytest.approx(0.2)
    savemat(
        path, {"CtData": scan_struct(distanceSourceOrigin=0.4, distanceSourceDetector=0.6, distanceUnit="m")}
    )
    assert ir.read(path).geometry.source_detector == pytest.approx(600)
    turned = scan_struct()
    turned["sinogram"] = SINOGRAM.T
    savemat(path, {"CtData": turned})
    scan = ir.read(path)
    np.testing.assert_array_equal(np.asarray(scan.data), SINOGRAM)
    assert any("axis 1 has as many elements as there are angles" in note for note in scan.notes)
    flat = {"proj": np.zeros((9, 3, 5)), "angles": np.linspace(0, 2 * np.pi, 9), "geo": {
        "DSO": 1000.0, "DSD": 1500.0, "dDetector": np.array([0.8, 0.8])}}  # fmt: skip
    savemat(path, {"data": flat})
    cone = ir.read(path).geometry
    assert (cone.kind, cone.rows, cone.columns, cone.pixel) == ("cone", 3, 5, pytest.approx(0.8))
    np.testing.assert_allclose(cone.angles, np.linspace(0, 2 * np.pi, 9))


@pytest.mark.parametrize("version", SAVE)
def test_named_arrays(tmp_path: Path, version: str) -> None:
    path = tmp_path / "arrays.mat"
    volume = np.arange(24.0).reshape(2, 3, 4)
    SAVE[version](path, {"img": volume, "x": np.arange(4.0), "name": "phantom"})
    image = ir.read(path)
    np.testing.assert_array_equal(np.asarray(image.data), volume)
    np.testing.assert_array_equal(np.asarray(ir.read(path, axes="YXZ").data), volume.transpose(2, 0, 1))
    SAVE[version](path, {"gt": volume[0], "seg": volume[1]})
    with pytest.raises(InputError, match=r"several arrays could be meant.*gt \(3, 4\), seg \(3, 4\)"):
        ir.read(path)
    np.testing.assert_array_equal(np.asarray(ir.read(path, dataset="seg").data), volume[1])
    with pytest.raises(UsageError, match=r"no array 'sgg'.*gt"):
        ir.read(path, dataset="sgg")
    SAVE[version](path, {"sinogram": SINOGRAM, "angles": np.arange(9) * 20.0})
    assert ir.read(path).geometry.views == 9
    scan = ir.read(path, geometry="fan", source_origin=400, source_detector=600, pixel=0.2)
    assert scan.geometry.kind == "fan"


def test_large_arrays_of_73_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.mat"
    volume = np.random.default_rng(0).random((41, 40, 42))
    save73(path, {"volume": volume})
    data = ir.read(path).data
    assert type(data).__name__ == "Hdf5Array"
    np.testing.assert_array_equal(data[3:9, 5, ::-2], volume[3:9, 5, ::-2])


@pytest.mark.parametrize("version", SAVE)
@pytest.mark.parametrize("kept", [0.1, 0.7])
def test_truncated_mat_files(tmp_path: Path, version: str, kept: float) -> None:
    path = tmp_path / "scan.mat"
    SAVE[version](path, {"a": np.random.default_rng(0).random((60, 60)), "CtData": scan_struct()})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"scan\.mat"):
        ir.read(path)


def test_mat_without_arrays(tmp_path: Path) -> None:
    path = tmp_path / "few.mat"
    savemat(path, {"x": np.arange(5.0)})
    with pytest.raises(InputError, match="no array of numbers"):
        ir.read(path)
