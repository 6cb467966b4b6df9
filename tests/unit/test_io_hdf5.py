"""Data Exchange, NXtomo, and HDF5 of no convention."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import imagereg as ir
from imagereg.errors import InputError, UsageError

VIEWS, ROWS, COLUMNS = 8, 3, 5
DATA = np.random.default_rng(0).integers(0, 60000, (VIEWS, ROWS, COLUMNS), dtype=np.uint16)
FLATS, DARKS = np.full((4, ROWS, COLUMNS), 50000, np.uint16), np.full((2, ROWS, COLUMNS), 90, np.uint16)
THETA = np.arange(VIEWS) * 22.5


def put(file: h5py.File, place: str, value: Any, **attributes: Any) -> None:
    file[place] = value
    file[place].attrs.update(attributes)


@pytest.fixture
def exchange(tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        put(file, "exchange/data", DATA)
        put(file, "exchange/data_white", FLATS)
        put(file, "exchange/data_dark", DARKS)
        put(file, "exchange/theta", THETA, units="deg")
    return path


def alter(path: Path, place: str, value: Any = None, **attributes: Any) -> None:
    with h5py.File(path, "a") as file:
        if place in file:
            del file[place]
        if value is not None:
            put(file, place, value, **attributes)


def test_data_exchange(exchange: Path) -> None:
    scan = ir.read(exchange)
    assert scan.source.format == "dxchange"
    assert scan.quantity == "counts"
    np.testing.assert_array_equal(scan.data[...], DATA)
    np.testing.assert_array_equal(scan.flats[...], FLATS)
    np.testing.assert_array_equal(scan.darks[...], DARKS)
    np.testing.assert_allclose(scan.geometry.angles, np.deg2rad(THETA))
    assert scan.geometry.centre_of_rotation == (COLUMNS - 1) / 2
    assert [note.split(":")[0] for note in scan.notes] == ["no pixel size in the file"]
    again = pickle.loads(pickle.dumps(scan.data))
    np.testing.assert_array_equal(again[2:5, 1], DATA[2:5, 1])
    part = scan.select(views=slice(0, 4), rows=slice(1, 3))
    np.testing.assert_array_equal(part.data, DATA[:4, 1:3])
    np.testing.assert_array_equal(part.flats, FLATS[:, 1:3])


def test_data_exchange_stored_as_sinograms(exchange: Path) -> None:
    alter(exchange, "exchange/data", DATA.transpose(1, 0, 2), axes="y:theta:x")
    scan = ir.read(exchange)
    np.testing.assert_array_equal(scan.data[...], DATA)
    np.testing.assert_array_equal(scan.data[3, :, 1:], DATA[3, :, 1:])
    np.testing.assert_array_equal(scan.flats[...], FLATS)
    alter(exchange, "exchange/data_white", FLATS.transpose(1, 0, 2), axes="y:theta_white:x")
    np.testing.assert_array_equal(ir.read(exchange).flats[...], FLATS)


def test_axes_that_look_exchanged(exchange: Path) -> None:
    alter(exchange, "exchange/data", DATA.transpose(1, 0, 2))
    with pytest.raises(InputError, match=r"8 angles for 3 views.*axes='rows,views,columns'"):
        ir.read(exchange)
    np.testing.assert_array_equal(ir.read(exchange, axes="rows,views,columns").data[...], DATA)


@pytest.mark.parametrize(
    ("places", "pixel", "words"),
    [
        ({"detection_system/objective/resolution": (1.25, "um")}, 1.25e-3, ""),
        ({"detection_system/objective/resolution": (1.25, "")}, 1.25e-3, "no unit: um"),
        ({"detection_system/objective/resolution": (1.25e-6, "")}, 1.25e-3, "no unit: m"),
        ({"detector/pixel_size_x": (6.5, "micron")}, 6.5e-3, ""),
        ({"detector/actual_pixel_size_x": (6.5e-6, "m")}, 6.5e-3, ""),
        (
            {
                "detector/pixel_size_x": (6e-3, "mm"),
                "detector/binning_x": (2, ""),
                "detection_system/objective/magnification": (10, ""),
            },
            1.2e-3,
            "magnification 10",
        ),
    ],
)
def test_data_exchange_pixel(
    exchange: Path, places: dict[str, tuple[float, str]], pixel: float, words: str
) -> None:
    for place, (value, unit) in places.items():
        alter(exchange, f"measurement/instrument/{place}", [value], **({"units": unit} if unit else {}))
    scan = ir.read(exchange)
    assert scan.geometry.pixel == pytest.approx(pixel)
    assert words in " ".join(scan.notes)
    assert ir.read(exchange, pixel=0.5).geometry.pixel == 0.5


def test_gaps_of_data_exchange_are_noted(exchange: Path) -> None:
    for name in ("data_white", "data_dark", "theta"):
        alter(exchange, f"exchange/{name}")
    scan = ir.read(exchange)
    assert scan.flats is None
    np.testing.assert_allclose(scan.geometry.angles, np.pi * np.arange(VIEWS) / VIEWS)
    assert [note.split(";")[0].split(":")[0] for note in scan.notes] == [
        "no angles in the file", "no flats in the file", "no pixel size in the file",
    ]  # fmt: skip
    given = ir.read(exchange, flats=FLATS, angles=THETA, angle_unit="deg")
    assert given.flats.shape == FLATS.shape


def test_bad_data_exchange(exchange: Path) -> None:
    alter(exchange, "exchange/theta", np.arange(5.0))
    with pytest.raises(InputError, match="5 angles for 8 views"):
        ir.read(exchange)
    alter(exchange, "exchange/theta", THETA, units="radians")
    with pytest.raises(InputError, match="looks like degrees"):
        ir.read(exchange)
    assert ir.read(exchange, angle_unit="degrees").geometry.views == VIEWS
    alter(exchange, "exchange/theta", THETA, units="furlong")
    assert any("'furlong'" in note for note in ir.read(exchange).notes)
    alter(exchange, "exchange/data_white", FLATS[:, :, :4])
    with pytest.raises(InputError, match=r"flats of shape \(4, 3, 4\)"):
        ir.read(exchange)
    alter(exchange, "exchange/data", np.float32(3))
    with pytest.raises(InputError, match="no stack of projections"):
        ir.read(exchange)
    with pytest.raises(UsageError, match="no entry 'exchange_9'"):
        ir.read(exchange, entry="exchange_9")


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_truncated_hdf5(exchange: Path, kept: float) -> None:
    whole = exchange.read_bytes()
    exchange.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"scan\.h5: cannot be read as HDF5 .*damaged"):
        ir.read(exchange)


@pytest.fixture
def nexus(tmp_path: Path) -> Path:
    """Frames of every image key, projections in two parts."""
    path = tmp_path / "scan.nxs"
    keys = [2, 2, 1, 0, 0, 0, 3, 0, 0, 0, 1, -1]
    frames = np.arange(12, dtype=np.float32)[:, None, None] * np.ones((1, ROWS, COLUMNS), np.float32)
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        put(file, "entry/instrument/detector/data", frames)
        put(file, "entry/instrument/detector/image_key_control", keys)
        put(file, "entry/instrument/detector/image_key", np.zeros(12, int))
        put(file, "entry/sample/rotation_angle", np.arange(12) * 10.0, units="degree")
        put(file, "entry/instrument/detector/x_pixel_size", 6.5e-6)
        put(file, "entry/instrument/detector/y_pixel_size", 13.0, units="um")
        put(file, "entry/instrument/detector/distance", 0.25, units="m")
        put(file, "entry/instrument/beam/incident_energy", 53.4, units="keV")
    return path


def test_nxtomo(nexus: Path) -> None:
    scan = ir.read(nexus)
    assert scan.source.format == "nxtomo"
    np.testing.assert_array_equal(scan.data[:, 0, 0], [3, 4, 5, 7, 8, 9])
    np.testing.assert_array_equal(scan.flats[:, 0, 0], [2, 10])
    np.testing.assert_array_equal(scan.darks[:, 0, 0], [0, 1])
    assert (scan.flat_times, scan.view_times) == ((2, 10), (3, 4, 5, 7, 8, 9))
    np.testing.assert_allclose(np.rad2deg(scan.geometry.angles), [30, 40, 50, 70, 80, 90])
    assert (scan.geometry.pixel, scan.geometry.row_edge) == (pytest.approx(6.5e-3), pytest.approx(13e-3))
    said = " ".join(scan.notes)
    assert "2 frames marked as invalid" in said
    assert "energy 53.4 keV" in said
    assert "250 mm behind the sample" in said
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scan.data))[4], scan.data[4])


def test_nxtomo_cone_and_magnified_pixels(nexus: Path) -> None:
    with pytest.raises(UsageError, match="source_origin"):
        ir.read(nexus, geometry="cone")
    alter(nexus, "entry/instrument/source/distance", -0.5)
    cone = ir.read(nexus, geometry="cone").geometry
    assert (cone.source_origin, cone.source_detector) == (pytest.approx(500), pytest.approx(750))
    alter(nexus, "entry/instrument/detector/x_magnified_pixel_size", 0.65e-6)
    assert ir.read(nexus).geometry.pixel == pytest.approx(0.65e-3)


@pytest.mark.parametrize(
    ("value", "unit", "pixel", "words"),
    [
        (15.0, "", 15e-3, "15 has no unit: um assumed"),
        (6.5e-6, "", 6.5e-3, "no unit: m assumed"),
        (0.5e-3, "", 0.5, "no unit: m assumed"),
        (15.0, "m", 15000.0, "which no detector has"),
        (1.0, "pixel", 1.0, "is no length"),
        (5e7, "", 1.0, "is no pixel in any"),
    ],
)
def test_pixels_of_no_or_of_no_likely_unit_are_said(
    nexus: Path, value: float, unit: str, pixel: float, words: str
) -> None:
    alter(nexus, "entry/instrument/detector/x_pixel_size", value, **({"units": unit} if unit else {}))
    scan = ir.read(nexus)
    assert scan.geometry.pixel == pytest.approx(pixel)
    assert words in " ".join(scan.notes)


def test_nxtomo_of_several_entries(nexus: Path) -> None:
    with h5py.File(nexus, "a") as file:
        file.copy("entry", file, "second")
    assert any("entry, second" in note for note in ir.read(nexus).notes)
    scan = ir.read(nexus, entry="second")
    assert scan.source.entry.startswith("second/")
    with pytest.raises(UsageError, match="there are entry, second"):
        ir.read(nexus, entry="third")


def test_bad_nxtomo(nexus: Path) -> None:
    alter(nexus, "entry/sample/rotation_angle", np.arange(7.0))
    with pytest.raises(InputError, match="7 rotation angles for 12 frames"):
        ir.read(nexus)
    alter(nexus, "entry/instrument/detector/image_key_control", np.ones(12, int))
    with pytest.raises(InputError, match="no projection"):
        ir.read(nexus)
    alter(nexus, "entry/instrument/detector/image_key_control", np.zeros(3, int))
    with pytest.raises(InputError, match="3 image keys for 12 frames"):
        ir.read(nexus)


def test_plain_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "plain.h5"
    with h5py.File(path, "w") as file:
        put(file, "scan/frames", DATA)
        put(file, "scan/angles", THETA)
        put(file, "other/volume", np.zeros((2, 4, 4)))
    scan = ir.read(path, dataset="scan/frames")
    assert scan.quantity == "counts"
    assert ir.read(path).source.entry == "scan/frames"  # the one with a view for each angle
    np.testing.assert_array_equal(scan.data[5], DATA[5])
    np.testing.assert_allclose(scan.geometry.angles, np.deg2rad(THETA))
    assert ir.read(path, dataset="/other/volume").quantity == "image"
    with pytest.raises(UsageError, match=r"no dataset 'scan/frame'.*scan/frames"):
        ir.read(path, dataset="scan/frame")
    alter(path, "scan/angles")
    alter(path, "other/image", np.zeros((2, 4, 4)))
    alter(path, "other/volume")
    alter(path, "other/second", np.zeros((2, 4, 4)))
    assert ir.read(path).source.entry == "other/image"
    alter(path, "other/image")
    with pytest.raises(InputError, match=r"several arrays.*other/second \(2, 4, 4\), scan/frames"):
        ir.read(path)


def test_compressed_chunked_and_foreign_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "big.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("projections", data=DATA.astype(">f4"), chunks=(2, 2, 2), compression="gzip")
        file["theta_deg"] = THETA
    scan = ir.read(path)
    assert scan.data.dtype.isnative
    np.testing.assert_array_equal(scan.data[1:7:2, ::-1], DATA[1:7:2, ::-1])


def test_hdf5_without_arrays(tmp_path: Path) -> None:
    path = tmp_path / "empty.h5"
    with h5py.File(path, "w") as file:
        file["title"] = "nothing"
    with pytest.raises(InputError, match="no array of numbers"):
        ir.read(path)
