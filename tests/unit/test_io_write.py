"""Writers: what is written reads back, is whole or not there, and is the same each time."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

import imagereg as ir
from imagereg.errors import InputError, ResourceError, UsageError
from imagereg.io import open_volume
from imagereg.io.atomic import replacing
from imagereg.io.volume_writer import VolumeWriter, plain
from imagereg.io.write_zarr import block_means, halve

NAMES = ["a.ome.zarr", "a.zarr", "a.ome.tif", "a.tif", "a.h5", "a.nxs", "a.npy"]
VOLUME = np.random.default_rng(4).random((70, 9, 11)).astype(np.float32)
PROVENANCE = {
    "method": "tv",
    "seconds": {"total": 1.5},
    "created": "now",
    "metrics": {"psnr": np.float32(30.5)},
}


@dataclass
class Result:
    """What the engine gives, as far as a writer looks at it."""

    image: Any
    voxel: tuple[float, ...] = (3.0, 2.0, 1.0)
    unit: str = "mm"
    provenance: dict[str, Any] = field(default_factory=lambda: dict(PROVENANCE))
    recipe: str = "method: tv\n"


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image", [VOLUME, VOLUME[0]], ids=["volume", "slice"])
def test_what_is_written_reads_back(tmp_path: Path, name: str, image: Any) -> None:
    path = ir.write(Result(image, (3.0, 2.0, 1.0)[-image.ndim :]), tmp_path / name)
    assert leftovers(tmp_path) == [name]
    again = ir.read(path)
    assert again.quantity == "image"
    np.testing.assert_array_equal(np.asarray(again.data), image)
    if not name.endswith(".npy"):
        assert (again.axes, again.unit) == ("ZYX"[-image.ndim :], "mm")
        assert again.pixel == pytest.approx((3.0, 2.0, 1.0)[-image.ndim :])


@pytest.mark.parametrize("name", NAMES)
def test_slabs_in_any_order(tmp_path: Path, name: str) -> None:
    with open_volume(tmp_path / name, VOLUME.shape, voxel=0.5, chunks=(8, 4, 4)) as volume:
        for start in (48, 0, 24):
            volume[start : start + 24] = VOLUME[start : start + 24]
        volume[60:70] = VOLUME[60:70]
        volume[3] = VOLUME[3]
        assert not (tmp_path / name).exists()
    assert leftovers(tmp_path) == [name]
    np.testing.assert_array_equal(np.asarray(ir.read(tmp_path / name).data), VOLUME)
    with pytest.raises(UsageError, match="closed"):
        volume[0] = VOLUME[0]


@pytest.mark.parametrize("name", NAMES)
def test_failures_leave_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    with pytest.raises(ZeroDivisionError), open_volume(path, VOLUME.shape) as volume:
        volume[0:10] = VOLUME[0:10]
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), open_volume(path, VOLUME.shape) as volume:
        raise KeyboardInterrupt
    words = "60 of 70 slices were not written, the first is 10"
    with pytest.raises(UsageError, match=words), open_volume(path, VOLUME.shape) as volume:
        volume[0:10] = VOLUME[0:10]
    for wrong in (VOLUME[:3], VOLUME[:2, :4], VOLUME[0]):
        with pytest.raises(UsageError, match="does not fit"), open_volume(path, VOLUME.shape) as volume:
            volume[0:2] = wrong
    for number, kind, words in [
        (errno.ENOSPC, ResourceError, "disk is full"),
        (errno.EDQUOT, ResourceError, "disk is full"),
        (errno.EACCES, InputError, "no permission"),
        (errno.EIO, InputError, "cannot be written"),
    ]:
        writer = type(open_volume(path, VOLUME.shape))

        def fail(self: VolumeWriter, start: int, slab: Any, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(writer, "_store", fail)
            with pytest.raises(kind, match=words):
                ir.write(VOLUME, path)
        for stray in tmp_path.glob(".*"):  # the writer opened above to learn its type
            assert stray.name.endswith(name)
        cleanup(tmp_path)
    assert leftovers(tmp_path) == []


def cleanup(folder: Path) -> None:
    for stray in folder.glob(".*"):
        subprocess.run(["rm", "-r", str(stray)], check=True)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_system_that_takes_no_more_is_one_sentence(tmp_path: Path, name: str) -> None:
    code = (
        "import numpy as np, imagereg as ir, sys\n"
        "from imagereg.io import open_volume\n"
        "volume = np.random.default_rng(0).random((64, 64, 64))\n"
        "try: ir.write(volume, sys.argv[1])\n"
        "except ir.ImageregError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)],
        preexec_fn=limited, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("ResourceError"), done.stdout + done.stderr
    assert "disk is full" in done.stdout
    assert "Traceback" not in done.stderr
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", NAMES)
def test_existing_outputs_are_kept_unless_allowed(tmp_path: Path, name: str) -> None:
    path = ir.write(VOLUME[0], tmp_path / name)
    with pytest.raises(UsageError, match="exists and was left as it is"):
        ir.write(VOLUME[1], path)
    np.testing.assert_array_equal(np.asarray(ir.read(path).data), VOLUME[0])
    with pytest.raises(ZeroDivisionError), open_volume(path, VOLUME.shape, overwrite=True) as volume:
        volume[0] = VOLUME[0]
        _ = 1 / 0
    np.testing.assert_array_equal(np.asarray(ir.read(path).data), VOLUME[0])
    ir.write(VOLUME[1], path, overwrite=True)
    np.testing.assert_array_equal(np.asarray(ir.read(path).data), VOLUME[1])
    assert leftovers(tmp_path) == [name]


def contents(path: Path) -> dict[str, bytes]:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_result_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    first, second = Result(VOLUME), Result(VOLUME)
    second.provenance.update(created="later", seconds={"total": 99.0})
    for folder, result in (("a", first), ("b", second)):
        (tmp_path / folder).mkdir()
        ir.write(result, tmp_path / folder / name)
    assert contents(tmp_path / "a" / name) == contents(tmp_path / "b" / name)


def test_ome_zarr_follows_the_specification(tmp_path: Path) -> None:
    from ome_zarr_models import v05 as models

    shape = (40, 300, 520)
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    path = ir.write(Result(image), tmp_path / "a.ome.zarr")
    group = zarr.open_group(path, mode="r")
    checked = models.Image.from_zarr(group)
    (multiscale,) = checked.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == ["z", "y", "x"]
    assert {axis.unit for axis in multiscale.axes} == {"millimeter"}
    assert [group[d.path].shape for d in multiscale.datasets] == [shape, (40, 150, 260), (40, 75, 130)]
    assert group["0"].metadata.dimension_names == ("z", "y", "x")
    scale, shift = multiscale.datasets[2].coordinateTransformations
    assert scale.scale == [3.0, 8.0, 4.0]
    assert shift.translation == [0.0, 3.0, 1.5]
    np.testing.assert_allclose(
        group["1"][5], image[5].reshape(150, 2, 260, 2).mean(axis=(1, 3), dtype=float), rtol=1e-6
    )
    account = group.attrs["imagereg"]
    assert account["recipe"] == "method: tv\n"
    assert account["provenance"] == {"method": "tv", "metrics": {"psnr": 30.5}}


def test_pyramid_of_a_deep_volume_with_odd_edges(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((131, 65, 513)).astype(np.float32)
    path = ir.write(image, tmp_path / "a.zarr", voxel=1.0)
    group = zarr.open_group(path, mode="r")
    assert [group[str(level)].shape for level in range(3)] == [(131, 65, 513), (66, 33, 257), (33, 33, 129)]
    np.testing.assert_allclose(group["1"][:], block_means(image, (2, 2, 2)), rtol=1e-6)
    np.testing.assert_allclose(group["1"][65, 32, 256], image[130, 64, 512], rtol=1e-6)


def test_ome_tiff_metadata(tmp_path: Path) -> None:
    path = ir.write(Result(VOLUME), tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]
        assert len(file.series) == 1
        assert file.series[0].axes == "ZYX"
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.MINISBLACK
    sizes = pixels["Image"]["Pixels"]
    assert [sizes[f"PhysicalSize{x}"] for x in "XYZ"] == [1, 2, 3]
    assert sizes["PhysicalSizeXUnit"] == "mm"
    assert "method: tv" in json.dumps(pixels["StructuredAnnotations"])


def test_hdf5_is_nexus(tmp_path: Path) -> None:
    path = ir.write(Result(VOLUME), tmp_path / "a.h5")
    with h5py.File(path) as file:
        data = file[file.attrs["default"]][file["entry"].attrs["default"]]
        assert data.attrs["NX_class"] == "NXdata"
        assert data[data.attrs["signal"]].shape == VOLUME.shape
        assert [data[axis].shape[0] for axis in data.attrs["axes"]] == list(VOLUME.shape)
        np.testing.assert_allclose(np.diff(data["y"][()]), 2.0)
        assert data["y"].attrs["units"] == "mm"
        assert file["entry/process/recipe"][()] == b"method: tv\n"
        assert json.loads(file["entry/process/provenance"][()])["method"] == "tv"


def test_tensors_colour_and_lazy_arrays(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    for shape, expected in [
        ((1, 1, 4, 5), (4, 5)), ((3, 1, 4, 5), (3, 4, 5)), ((1, 1, 3, 4, 5), (3, 4, 5)), ((4, 5), (4, 5)),
    ]:  # fmt: skip
        tensor = torch.rand(shape, dtype=torch.float64, requires_grad=True)
        path = ir.write(tensor, tmp_path / "t.npy", overwrite=True)
        np.testing.assert_allclose(np.load(path), tensor.detach().numpy().reshape(expected), rtol=1e-6)
    colour = np.random.default_rng(0).random((6, 7, 3))
    for name in ("c.ome.zarr", "c.ome.tif", "c.h5"):
        again = ir.read(ir.write(colour, tmp_path / name, axes="YXC", voxel=(2.0, 1.0)))
        assert again.axes == "YXC"
        assert again.pixel == (2.0, 1.0)
        np.testing.assert_allclose(np.asarray(again.data), colour, rtol=1e-6)
    lazy = ir.read(ir.write(VOLUME, tmp_path / "l.h5")).data
    np.testing.assert_array_equal(np.load(ir.write(lazy, tmp_path / "l.npy")), VOLUME)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "a.jpg"}, "no format is known.*ome.zarr"),
        ({"path": "missing/a.tif"}, "no such folder"),
        ({"voxel": (1.0, 2.0)}, "3 positive edges"),
        ({"voxel": -1.0}, "3 positive edges"),
        ({"axes": "ZYXC"}, "axes 'ZYXC' is no image"),
        ({"result": np.zeros(5)}, "is no image"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    given = {"result": VOLUME, "path": "a.tif", **arguments}
    with pytest.raises(ir.ImageregError, match=words):
        ir.write(given.pop("result"), tmp_path / given.pop("path"), **given)
    assert leftovers(tmp_path) == []


def test_too_little_room_is_known_beforehand(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"takes 4e\+03 GB and the disk has"):
        open_volume(tmp_path / "a.zarr", (10000, 10000, 10000))
    assert leftovers(tmp_path) == []


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission to write"):
        ir.write(VOLUME, tmp_path / "a.tif")


def test_replacing_keeps_the_old_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path, overwrite=True) as partial:
        partial.write_text("half")
        raise RuntimeError("something else")
    assert path.read_text() == "old"
    with replacing(path, overwrite=True) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    fresh = tmp_path / "b.txt"
    with pytest.raises(UsageError, match="exists"), replacing(fresh) as partial:
        partial.write_text("mine")
        fresh.write_text("someone else's")  # appears while we work
    assert fresh.read_text() == "someone else's"
    assert leftovers(tmp_path) == ["a.txt", "b.txt"]


def test_plain_values() -> None:
    values = {"a": np.float32(1.5), 2: (np.arange(2), float("nan")), "p": Path("x"), "n": None, "b": True}
    assert plain(values) == {"a": 1.5, "2": [[0, 1], None], "p": "x", "n": None, "b": True}


def test_a_pyramid_is_made_from_a_chunk_at_a_time() -> None:
    volume = np.random.default_rng(3).random((37, 22, 51)).astype(np.float32)
    taken = []

    class Level:
        """A level that tells how much of it is read at a time."""

        def __init__(self, values: Any) -> None:
            self.values, self.shape, self.ndim, self.chunks = values, values.shape, values.ndim, (8, 6, 10)

        def __getitem__(self, box: Any) -> Any:
            taken.append(self.values[box].size)
            return self.values[box]

        def __setitem__(self, box: Any, values: Any) -> None:
            self.values[box] = values

    coarse = Level(np.zeros((19, 11, 26), np.float32))
    halve(Level(volume), coarse)
    np.testing.assert_array_equal(coarse.values, block_means(volume, (2, 2, 2)))
    assert max(taken) <= 8 * 6 * 10
