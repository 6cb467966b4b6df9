"""Bad input gets one sentence: what is wrong, where, what to do; never a traceback, never a lost file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

if TYPE_CHECKING:
    from conftest import Call

Break = Callable[[Path, Path], list[str]]


def copy(scan: Path, folder: Path) -> Path:
    return Path(shutil.copy(scan, folder / "bad.h5"))


def truncated(scan: Path, folder: Path) -> list[str]:
    bad = copy(scan, folder)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    return ["run", str(bad)]


def missing_flats(scan: Path, folder: Path) -> list[str]:
    bad = copy(scan, folder)
    with h5py.File(bad, "a") as file:
        del file["exchange/data_white"]
    return ["run", str(bad)]


def wrong_axis_order(scan: Path, folder: Path) -> list[str]:
    bad = copy(scan, folder)
    with h5py.File(bad, "a") as file:
        data = np.moveaxis(file["exchange/data"][...], 0, 1)
        del file["exchange/data"]
        file["exchange/data"] = data
    return ["run", str(bad)]


def degrees_as_radians(scan: Path, folder: Path) -> list[str]:
    return ["run", str(scan), "--hint", "angle_unit=rad"]


def not_finite(scan: Path, folder: Path) -> list[str]:
    bad = folder / "bad.npz"
    sinogram = np.ones((60, 96), dtype=np.float32)
    sinogram[7, 20:25] = np.nan
    np.savez(bad, sinogram=sinogram, angles=np.linspace(0, np.pi, 60, endpoint=False))
    return ["run", str(bad), "--step", "none"]


def empty_folder(scan: Path, folder: Path) -> list[str]:
    (folder / "nothing").mkdir()
    return ["run", str(folder / "nothing")]


def no_such_file(scan: Path, folder: Path) -> list[str]:
    return ["run", str(folder / "none.h5")]


def unknown_format(scan: Path, folder: Path) -> list[str]:
    (folder / "notes.docx").write_text("hello")
    return ["run", str(folder / "notes.docx")]


def unknown_key(scan: Path, folder: Path) -> list[str]:
    (folder / "r.yaml").write_text(f"input: {scan}\nmetod: tv\n")
    return ["run", str(folder / "r.yaml")]


def misspelt_parameter(scan: Path, folder: Path) -> list[str]:
    return ["run", str(scan), "-m", "tv", "--stength", "0.1"]


def out_of_range(scan: Path, folder: Path) -> list[str]:
    return ["run", str(scan), "-m", "tv", "--set", "strength=-3"]


def wrong_method_for_geometry(scan: Path, folder: Path) -> list[str]:
    return ["run", str(scan), "-m", "fdk"]


def counts_without_steps(scan: Path, folder: Path) -> list[str]:
    return ["run", str(scan), "--step", "none"]


def rows_outside(scan: Path, folder: Path) -> list[str]:
    return ["run", str(scan), "--rows", "10:20"]


TABLE: dict[str, tuple[Break, int, list[str]]] = {
    "truncated HDF5": (truncated, 3, ["bad.h5"]),
    "missing flats": (missing_flats, 2, ["flat"]),
    "wrong axis order": (wrong_axis_order, 3, ["axes"]),
    "degrees given as radians": (degrees_as_radians, 2, ["degrees"]),
    "NaN in the data": (not_finite, 2, ["finite", "outliers"]),
    "empty folder": (empty_folder, 3, ["nothing", "empty"]),
    "no such file": (no_such_file, 3, ["none.h5"]),
    "unknown format": (unknown_format, 3, ["notes.docx"]),
    "unknown key": (unknown_key, 2, ["r.yaml:2", "metod", "did you mean 'method'"]),
    "misspelt parameter": (misspelt_parameter, 2, ["stength", "did you mean 'strength'"]),
    "parameter out of range": (out_of_range, 2, ["strength", "-3"]),
    "method for another geometry": (wrong_method_for_geometry, 2, ["cone", "parallel"]),
    "raw counts, no steps": (counts_without_steps, 2, ["counts", "flatfield"]),
    "rows outside": (rows_outside, 2, ["rows", "3"]),
}


@pytest.mark.parametrize("case", TABLE)
def test_one_sentence_and_the_right_code(case: str, imagereg: Call, scan: Path, tmp_path: Path) -> None:
    spoil, code, words = TABLE[case]
    done = imagereg(*spoil(scan, tmp_path), "-o", "out")
    print(f"{case:<28} {done.returncode}  {done.stderr.strip()}")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    last = done.stderr.strip().splitlines()
    assert len(last) == 1, done.stderr
    for word in words:
        assert word in last[0]
    assert not (tmp_path / "out").exists()


def test_negative_counts_are_reported_and_survived(imagereg: Call, scan: Path, tmp_path: Path) -> None:
    bad = copy(scan, tmp_path)
    with h5py.File(bad, "a") as file:
        data = file["exchange/data"][...].astype(np.float32)
        data[3, :, 10:14] = -50
        data[5, :, 40] = 65535
        del file["exchange/data"]
        file["exchange/data"] = data
    info = imagereg("info", bad)
    assert "negative" in info.stdout
    done = imagereg("run", bad, "-o", "out")
    assert done.returncode == 0, done.stderr
    from tifffile import imread

    assert np.isfinite(imread(tmp_path / "out" / "image.tif")).all()


def test_existing_output_is_left_alone(imagereg: Call, scan: Path, tmp_path: Path) -> None:
    assert imagereg("run", scan, "-o", "out").returncode == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    done = imagereg("run", scan, "-m", "sirt", "-o", "out")
    assert done.returncode == 2
    assert "already holds" in done.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
    assert (
        imagereg("run", scan, "-m", "sirt", "--iterations", "2", "-o", "out", "--overwrite").returncode == 0
    )
    assert (tmp_path / "out" / "image.tif").read_bytes() != before[tmp_path / "out" / "image.tif"]


def test_a_folder_with_other_things_keeps_them(imagereg: Call, scan: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert imagereg("run", scan, "-o", ".").returncode == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "image.tif").exists()


def test_no_permission_to_write(imagereg: Call, scan: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # root may write anywhere but into a pseudo file system
        done = imagereg("run", scan, "-o", "/proc/imagereg")
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        done = imagereg("run", scan, "-o", "locked/out")
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    """A disk of 256 kB, where one can be mounted."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a file system of a given size can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=False)


def test_a_full_disk_loses_nothing(imagereg: Call, scan: Path, tiny_disk: Path) -> None:
    (tiny_disk / "mine.txt").write_text("mine")
    done = imagereg(
        "run", scan, "-o", tiny_disk / "out", "--set", "physics.volume={shape: [300, 300], voxel: 0.002}"
    )
    assert done.returncode == 4, done.stderr
    assert "full" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (tiny_disk / "mine.txt").read_text() == "mine"
    assert not (tiny_disk / "out" / "image.tif").exists()
