"""Files that are empty, incomplete, or claim more than they hold: one sentence each, before any memory."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from pydicom.data import get_testdata_file
from scipy.io import savemat

import imagereg as ir
from imagereg import yaml_text
from imagereg.errors import InputError, ResourceError, UsageError
from imagereg.io import budget
from imagereg.recipe import Recipe

COUNTS = np.random.default_rng(0).integers(50, 6000, (7, 40, 50)).astype(np.uint16)


def exchange(path: Path, data: Any, **storage: Any) -> Path:
    """A Data Exchange file with such data."""
    with h5py.File(path, "w") as file:
        file.create_dataset("exchange/data", data=data, **storage)
    return path


# ---------------------------------------------------------------------- values that are no measurement
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((8, 4, 16), np.complex64), "complex"),
        (np.zeros((8, 4, 16), [("a", "f4"), ("b", "i4")]), "no plain numbers"),
        (np.full((8, 4, 16), b"xx"), "no plain numbers"),
        (np.zeros((0, 4, 16), np.uint16), "there is nothing in it"),
    ],
)
def test_what_is_no_stack_of_numbers_is_refused(tmp_path: Path, values: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ir.read(exchange(tmp_path / "a.h5", values))


@pytest.mark.parametrize(
    ("values", "said"), [(np.ones((2, 4), np.complex64), "complex"), (np.zeros((0, 4)), "nothing in it")]
)
def test_arrays_of_numpy_that_are_no_numbers_are_refused(tmp_path: Path, values: Any, said: str) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=said):
        ir.read(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", ["(-4, -4)", "(-1, 4)", "(99999, 99999)"])
def test_shapes_that_no_file_can_hold(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64)
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match="promises"):
        ir.read(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("projections.npy", content)
    with pytest.raises(InputError, match="promises"):
        ir.read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"NumberOfFrames": -5}, "impossible shape"), ({"Rows": 0}, "there is nothing in it")],
)
def test_dicom_of_no_size(tmp_path: Path, change: dict[str, int], said: str) -> None:
    slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name, value in change.items():
        setattr(slice_, name, value)
    slice_.save_as(tmp_path / "a.dcm")
    with pytest.raises(InputError, match=said):
        ir.read(tmp_path / "a.dcm")


# ---------------------------------------------------------------------- claims
def test_the_limit_is_a_setting_and_in_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    budget.afford(Path("a"), "it", 3 * 10**9, 10**9)
    monkeypatch.setenv(budget.VARIABLE, "2")
    with pytest.raises(ResourceError, match="limit is 2 GB; set IMAGEREG_DECODE_LIMIT"):
        budget.afford(Path("a"), "it", 3 * 10**9, 10**9)
    monkeypatch.setenv(budget.VARIABLE, "-1")
    with pytest.raises(UsageError, match="positive number"):
        budget.limit()


def test_a_page_that_inflates_beyond_its_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    content = zlib.compress(bytes(200_000_000), 1)
    tifffile.imwrite(
        path,
        iter([content]),
        shape=(64, 64),
        dtype="u2",
        compression="zlib",
        photometric="minisblack",
        rowsperstrip=64,
    )
    with pytest.raises(InputError, match=r"8\.19 kB and is stored in"):
        ir.read(path)


def test_compressed_variables_that_claim_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"image": np.ones((20, 20))}, do_compression=True)
    assert ir.read(path).data.shape == (20, 20)
    inner = zlib.compress(struct.pack("<II", 14, 4_000_000_000) + bytes(200))
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", 15, len(inner)) + inner)
    with pytest.raises(InputError, match=r"would decode .* to 4 GB"):
        ir.read(path)


def test_compressed_members_that_claim_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("projections.npy", b"\x93NUMPY")
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, place + 24, 4_000_000_000)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"would decode .* to 4 GB"):
        ir.read(path)


def test_chunks_that_claim_too_much(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset(
            "image", (30_000, 30_000), "f4", chunks=(30_000, 30_000), compression="gzip"
        )
        data.id.write_direct_chunk((0, 0), zlib.compress(bytes(1000)))
    with pytest.raises(InputError, match=r"would decode .* to 3\.6 GB"):
        ir.read(tmp_path / "a.h5")
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(30_000, 30_000), chunks=(30_000, 30_000), dtype="f4"
    )
    assert array.nchunks == 1
    with pytest.raises(InputError, match=r"would decode .* to 3\.6 GB"):
        ir.read(tmp_path / "a.zarr")


def test_an_extended_header_of_two_gigabytes_is_not_allocated(tmp_path: Path) -> None:
    import mrcfile

    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.ones((2, 4, 5), np.float32))
    content = bytearray((tmp_path / "a.mrc").read_bytes())
    struct.pack_into("<i", content, 92, 2**31 - 1)
    (tmp_path / "a.mrc").write_bytes(content)
    with pytest.raises(InputError, match=r"cut short.*2147484\d\d\d"):
        ir.read(tmp_path / "a.mrc")


# ---------------------------------------------------------------------- many nodes
def tangle(file: Any, levels: int = 30) -> Any:
    """Groups that hold the next one under two names, and the first: endless paths to `levels` groups."""
    group = file
    for _ in range(levels):
        following = group.create_group("a")
        group["b"] = following
        group = following
    group["c"] = file["a"]
    return group


def test_links_that_cross_and_go_round_are_followed_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        tangle(file)["image"] = np.ones((8, 9))
    assert ir.read(tmp_path / "a.h5").data.shape == (8, 9)
    with h5py.File(tmp_path / "a.mat", "w") as file:
        tangle(file, 25)
        file["image"] = np.ones((9, 8))
    assert ir.read(tmp_path / "a.mat").data.shape == (8, 9)


def test_the_shortest_place_of_a_dataset_is_its_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/deep/down"] = np.ones((8, 9))
        file["z"] = file["a/deep/down"]
    assert ir.read(tmp_path / "a.h5").source.entry == "z"


# ---------------------------------------------------------------------- parts that are not there
def test_chunks_never_written_are_no_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("exchange/data", (8, 4, 16), "u2", chunks=(1, 4, 16))
        data[:5] = 7
    with pytest.raises(InputError, match=r"3 of 8 chunks \(the first at index 5\) missing"):
        ir.read(path)
    with h5py.File(path, "a") as file:
        file["exchange/data"][5:] = 0
    assert ir.read(path).data.shape == (8, 4, 16)


def test_sources_of_virtual_data_that_are_gone(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((2, 4, 16), "u2")
    for number in range(2):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file["d"] = np.ones((4, 16), np.uint16)
        layout[number] = h5py.VirtualSource(f"part{number}.h5", "d", (4, 16))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("exchange/data", layout)
    assert float(np.asarray(ir.read(tmp_path / "a.h5").data).min()) == 1
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(InputError, match=r"part1\.h5:d missing"):
        ir.read(tmp_path / "a.h5")


def test_chunks_that_a_zarr_lacks(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(24, 64), chunks=(4, 64), dtype="u2")
    with pytest.raises(InputError, match="all 6 chunks"):
        ir.read(tmp_path / "a.zarr")
    array[:20] = 3
    assert any("1 of 6 chunks" in note for note in ir.read(tmp_path / "a.zarr").notes)
    with pytest.raises(InputError, match="1 of 6 chunks missing"):
        ir.read(tmp_path / "a.zarr", angles="linspace(0,180,N)")


def test_frames_in_a_file_that_was_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, COUNTS[:2], photometric="minisblack", ome=True, metadata={"axes": "ZYX"}, compression="zlib"
    )
    content = path.read_bytes()
    assert b'SizeZ="2"' in content
    path.write_bytes(content.replace(b'SizeZ="2"', b'SizeZ="9"'))
    with pytest.raises(InputError, match=r"(7 of its 9|2 of the 9) frames"):
        ir.read(path)


def linked(path: Path, kind: str, other: Path) -> None:
    """A scan whose values are in `other` by one of HDF5's references."""
    with h5py.File(other, "w") as file:
        file["d"] = COUNTS
    with h5py.File(path, "w") as file:
        group = file.create_group("exchange")
        if kind == "link":
            group["data"] = h5py.ExternalLink(str(other), "d")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(COUNTS.shape, COUNTS.dtype)
            layout[:] = h5py.VirtualSource(str(other), "d", COUNTS.shape)
            group.create_virtual_dataset("data", layout)
        else:
            other.write_bytes(COUNTS.tobytes())
            group.create_dataset(
                "data", COUNTS.shape, COUNTS.dtype, external=[(str(other), 0, COUNTS.nbytes)]
            )


@pytest.mark.parametrize("kind", ["link", "virtual", "storage"])
def test_values_outside_the_folder_of_a_file_are_taken_only_where_asked(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.h5"
    linked(path, kind, tmp_path / "out.h5")
    with pytest.raises(UsageError, match="outside its own folder; give follow_links=true"):
        ir.read(path)
    scan = ir.read(path, follow_links=True)
    np.testing.assert_array_equal(np.asarray(scan.data), COUNTS)
    assert any("further file out.h5 (SHA-256" in note for note in scan.notes)
    path.unlink()
    linked(path, kind, tmp_path / "in" / "near.h5")
    assert any("near.h5" in note for note in ir.read(path).notes)


def test_a_link_to_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/definition"] = "NXtomo"
        file["entry/instrument/detector/image_key"] = np.zeros(7, int)
        file["entry/instrument/detector/data"] = h5py.ExternalLink("gone.h5", "d")
        file["entry/other"] = COUNTS
    with pytest.raises(InputError, match=r"detector/data leads to gone\.h5, which is not there"):
        ir.read(tmp_path / "a.nxs")


# ---------------------------------------------------------------------- lost pages
@pytest.mark.parametrize(
    "kind",
    [
        {"metadata": None},
        {"metadata": None, "compression": "zlib"},
        {"compression": "zlib"},
        {"ome": True},
        {"ome": True, "compression": "lzw"},
        {"imagej": True},
        {"metadata": None, "bigtiff": True},
        {"metadata": None, "tile": (16, 16), "compression": "zstd"},
    ],
)
@pytest.mark.parametrize("onto", [None, 1])
def test_a_chain_of_pages_that_breaks_or_turns_back(
    tmp_path: Path, kind: dict[str, Any], onto: int | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COUNTS, photometric="minisblack", **kind)
    np.testing.assert_array_equal(np.asarray(ir.read(path).data), COUNTS)
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
        big = file.is_bigtiff
    content = bytearray(path.read_bytes())
    count = struct.unpack_from("<Q" if big else "<H", content, offsets[3])[0]
    link = offsets[3] + (8 + 20 * count if big else 2 + 12 * count)
    struct.pack_into("<Q" if big else "<I", content, link, 0 if onto is None else offsets[onto])
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"copy it again|cut short"):
        ir.read(path)


def test_pyramids_and_small_pages_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(COUNTS[0], subifds=2)
        file.write(COUNTS[0, ::2, ::2])
        file.write(COUNTS[0, ::4, ::4])
    assert ir.read(path).data.shape == (40, 50)
    tifffile.imwrite(path, COUNTS[:, :4, :4].repeat(40, 0), photometric="minisblack", compression="zlib")
    assert ir.read(path).data.shape == (280, 4, 4)


# ---------------------------------------------------------------------- recipes
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input: a.h5\nmethod: tv\ninput: b.h5\n", "recipe:3: .*'input' stands twice, first in line 1"),
        ("input: {path: a.h5, hints: &a {angles: *a}}\n", r"recipe:1: .*alias \*a"),
        ("a: &a [1]\nb: *a\n", r"recipe:2: .*alias \*a"),
        ("input: a.h5\n1: 2\n", "recipe:2: .*key '1' is no text"),
        ("input: a.h5\n[1, 2]: 2\n", "recipe:2: .*a list or a mapping is no text|recipe:2: .*no text"),
        ("input: " + "[" * 5000, "30 levels"),
        ("input: " + "{a: " * 5000, "30 levels"),
        ("input: 2026-02-31\n", "not valid YAML"),
    ],
)
def test_recipes_that_are_no_plain_tree(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recipe.parse(text)


def test_what_is_written_twice_is_read_again() -> None:
    same = [1, 2]
    assert yaml_text.load(yaml_text.dump({"a": same, "b": same})) == {"a": same, "b": same}
