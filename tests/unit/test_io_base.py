"""Finding readers, hints, and what is said of files that are none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import imagereg as ir
from imagereg import discovery
from imagereg.errors import InputError, UsageError
from imagereg.io import Reader, find_reader, readers
from imagereg.io.axes import image_axes, scan_order
from imagereg.io.complaints import reading
from imagereg.measurement import Measurement, Source


@pytest.fixture
def sinogram(tmp_path: Path) -> Path:
    path = tmp_path / "scan.npz"
    np.savez(path, sinogram=np.ones((6, 9), np.float32), angles_deg=np.arange(6) * 30.0)
    return path


class Plain(Reader):
    """Files that end in .plain."""

    name = "plain"
    title = "plain text"
    suffixes = (".plain", ".npz")
    hints = frozenset({"width"})

    def sniff(self, path: Path) -> bool:
        return path.suffix in self.suffixes

    def read(self, path: Path, hints: Any) -> Measurement:
        return Measurement(np.ones((2, hints.get("width", 3))), source=Source(path, self.name))


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Entry points of other packages, to be filled by a test."""
    points: list[Any] = []
    monkeypatch.setattr(
        discovery, "entry_points", lambda group: points if group == "imagereg.readers" else []
    )
    readers.cache_clear()
    yield points
    readers.cache_clear()


def test_every_reader_declares_itself() -> None:
    assert set(readers()) == {
        "dxchange", "nxtomo", "cil", "mat", "zarr", "mrc", "dicom", "tiff", "npz", "picture", "hdf5",
    }  # fmt: skip
    for name, reader in readers().items():
        assert reader.name == name
        assert reader.title
        assert reader.hints
        assert all(suffix.startswith(".") for suffix in reader.suffixes)
        assert not reader.sniff(Path(__file__))


def test_other_packages_add_readers_that_come_first(plugged: list[Any], sinogram: Path) -> None:
    plugged.append(SimpleNamespace(load=lambda: Plain))
    assert find_reader(sinogram).name == "plain"
    assert ir.read(sinogram, width=5).data.shape == (2, 5)
    assert ir.read(sinogram, format="npz").quantity == "line_integrals"


def test_a_clash_of_names_and_what_is_no_reader_are_errors(plugged: list[Any], sinogram: Path) -> None:
    plugged.append(SimpleNamespace(load=lambda: type("Other", (Plain,), {"name": "tiff"})))
    with pytest.raises(ir.ImageregError, match=r"two readers are called 'tiff'.*Tiff.*Other"):
        ir.read(sinogram)
    plugged[:] = [SimpleNamespace(load=lambda: dict, value="nothing:dict")]
    with pytest.raises(UsageError, match="no subclass"):
        ir.read(sinogram)


def test_misspelt_hints_and_formats_name_the_nearest(sinogram: Path) -> None:
    with pytest.raises(UsageError, match=r"'pixl'.*did you mean 'pixel'"):
        ir.read(sinogram, pixl=0.1)
    with pytest.raises(UsageError, match="did you mean 'nxtomo'"):
        ir.read(sinogram, format="nxtom")
    with pytest.raises(UsageError, match="'entry' is no hint of the format 'npz'"):
        ir.read(sinogram, entry="a")


def test_hints_override_the_file(sinogram: Path) -> None:
    scan = ir.read(
        sinogram, angles="linspace(0, 360, N)", geometry="fan", pixel="200 um", source_origin=100,
        source_detector="15 cm", centre=3.5, quantity="transmission",
    )  # fmt: skip
    geometry = scan.geometry
    assert geometry is not None
    assert geometry.kind == "fan"
    np.testing.assert_allclose(geometry.angles, np.linspace(0, 2 * np.pi, 6))
    assert (geometry.pixel, geometry.magnification, scan.quantity) == (
        pytest.approx(0.2),
        1.5,
        "transmission",
    )
    assert geometry.centre_of_rotation == pytest.approx(3.5)
    turned = ir.read(sinogram, axes="columns,views", angles=np.arange(9) * 20.0)
    assert turned.data.shape == (9, 6)
    assert ir.read(sinogram, pixel=None).geometry.pixel == 1.0


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ({"geometry": "conical"}, "geometry='conical'"),
        ({"geometry": "fan"}, "source_origin"),
        ({"geometry": "fan", "source_origin": 9, "source_detector": 3}, "source_origin <= source_detector"),
        ({"source_origin": 9}, "geometry='cone'"),
        ({"quantity": "count"}, "did you mean 'counts'"),
        ({"angle_unit": "gon"}, "degrees"),
        ({"angle_unit": "rad"}, "looks like degrees"),
        ({"axes": "views,views"}, "each of views, columns once"),
        ({"axes": "views,wavelength"}, "'wavelength' is no axis"),
        ({"centre": "middle"}, "finite number"),
        ({"flats": "nowhere.tif"}, "no such file"),
        ({"flats": np.ones(4)}, "flats of shape"),
        ({"dataset": "sinogrm"}, "did you mean 'sinogram'"),
    ],
)
def test_hints_that_do_not_fit(sinogram: Path, hints: dict[str, Any], words: str) -> None:
    with pytest.raises(ir.ImageregError, match=words):
        ir.read(sinogram, **hints)


def test_flats_from_files_and_arrays(sinogram: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.full((4, 9), 7.0))
    scan = ir.read(sinogram, flats="flat.npy", darks=np.zeros(9), quantity="counts")
    assert scan.flats.shape == (4, 9)
    assert scan.darks.shape == (1, 9)
    assert not any("flats" in note for note in scan.notes)


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.tif").touch()
    (tmp_path / "noise.tif").write_bytes(b"no tiff at all")
    (tmp_path / "letter.doc").write_text("Dear Sir")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.doc").write_text("Dear Sir")
    for name, words in {
        "missing.h5": "no such file",
        "empty": "the folder is empty",
        "nothing.tif": "the file is empty",
        "noise.tif": "its name says TIFF, its content does not",
        "letter.doc": "not recognised; read are Data Exchange",
        "folder": "no file of a known format",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            ir.read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_permission_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sinogram: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission to read"):
        ir.read(sinogram)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PermissionError(13, "Permission denied"), InputError, "no permission"),
        (FileNotFoundError(2, "No such file", "part.h5"), InputError, "part.h5: no such file"),
        (MemoryError(), ir.ImageregError, "not enough memory"),
        (KeyError("data"), InputError, "'data' is missing"),
        (RuntimeError("line one\nline two"), InputError, r"\(line one\); it may be cut short"),
        (UsageError("as it is"), UsageError, "^as it is$"),
    ],
)
def test_complaints_become_sentences(error: Exception, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words), reading(Path("a.h5")):
        raise error


def test_axes() -> None:
    assert scan_order("theta:y:x", (), 3) == scan_order(["views", "rows", "columns"], (), 3) == (0, 1, 2)
    assert scan_order("yax", (), 3) == scan_order("rows,views,columns", (), 3) == (1, 0, 2)
    data, axes = image_axes(np.zeros((2, 3, 4)), "XYZ")
    assert (data.shape, axes) == ((4, 3, 2), "ZYX")
    data, axes = image_axes(np.zeros((1, 3, 5, 2, 4)), "TCZYX")
    assert (data.shape, axes) == ((5, 2, 4, 3), "ZYXC")
    assert image_axes(np.zeros((6, 2, 4)), "TYX")[1] == "ZYX"
    for shape, letters in [((2, 3, 4, 5), "TZYX"), ((2, 3), "ZX"), ((2, 3), "YXC"), ((2, 2), "YY")]:
        with pytest.raises(UsageError, match="axes"):
            image_axes(np.zeros(shape), letters)


def test_reading_loads_neither_torch_nor_deepinv(sinogram: Path) -> None:
    code = f"import sys, imagereg as ir; ir.read({str(sinogram)!r}); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
