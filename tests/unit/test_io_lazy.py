"""Lazy arrays answer every index as NumPy does, survive pickling, and read no more than they must."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from imagereg.errors import InputError
from imagereg.io.lazy import Box, LazyArray, RawArray, fix, pick, transpose

VALUES = np.arange(7 * 5 * 6, dtype=np.int16).reshape(7, 5, 6)


class Watched(LazyArray):
    """An array in memory that counts what is fetched of it."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values, self.path = values, Path("memory")
        self.shape, self.dtype = values.shape, values.dtype
        self.fetched: list[int] = []

    def _fetch(self, box: Box) -> NDArray[Any]:
        assert all((part.step or 1) > 0 and part.start < part.stop for part in box)
        part = self.values[box]
        self.fetched.append(part.size)
        return part


def ranges(length: int) -> st.SearchStrategy[slice]:
    ends = st.none() | st.integers(-length - 2, length + 2)
    return st.builds(slice, ends, ends, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))


def indices(length: int) -> st.SearchStrategy[Any]:
    return ranges(length) | st.integers(-length, length - 1)


@given(st.tuples(indices(7), indices(5), indices(6)), st.integers(0, 3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_slices_and_integers_are_numpys(key: tuple[Any, ...], kept: int, dots: bool) -> None:
    key = (*key[:kept], ...) if dots else key[:kept]
    for lazy, values in variants():
        try:
            expected = values[key]
        except IndexError:  # an integer beyond this variant's axis
            with pytest.raises(IndexError):
                lazy[key]
            continue
        np.testing.assert_array_equal(lazy[key], expected)
        assert lazy[key].dtype == values.dtype


def variants() -> list[tuple[LazyArray, NDArray[Any]]]:
    base = Watched(VALUES)
    picks = [4, 0, 0, 6, 5]
    return [
        (base, VALUES),
        (transpose(base, (2, 0, 1)), VALUES.transpose(2, 0, 1)),
        (pick(base, picks), VALUES[picks]),
        (transpose(pick(base, picks), (1, 2, 0)), VALUES[picks].transpose(1, 2, 0)),
    ]


@pytest.mark.parametrize("index", [[0, 6, 2], [-1, 0], [], [3, 3, 1], np.arange(7) % 2 == 0])
@pytest.mark.parametrize("axis", [0, 1])
def test_lists_and_masks_are_numpys(index: Any, axis: int) -> None:
    for lazy, values in variants():
        if isinstance(index, np.ndarray) and index.size != values.shape[axis]:
            index = np.resize(index, values.shape[axis])
        wanted: Any = np.asarray(index, dtype=bool if isinstance(index, np.ndarray) else int)
        if wanted.dtype != bool and wanted.size and wanted.max() >= values.shape[axis]:
            continue
        key = (slice(1, None),) * axis + (index,)
        np.testing.assert_array_equal(lazy[key], values[(slice(1, None),) * axis + (wanted,)])


@given(
    part=st.tuples(*map(ranges, VALUES.shape)),
    then=st.tuples(*map(ranges, VALUES.shape)),
    kept=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_a_window_is_a_slice_that_is_read_later(
    part: tuple[slice, ...], then: tuple[slice, ...], kept: int
) -> None:
    watched = Watched(VALUES)
    window = watched.window(*part[:kept])
    expected = VALUES[part[:kept]]
    assert window.shape == expected.shape
    assert watched.fetched == []
    assert np.array_equal(window[then], expected[then])
    assert np.array_equal(np.asarray(window.window(*then)), expected[then])


def test_a_part_of_a_scan_is_read_when_it_is_needed() -> None:
    from imagereg.geometry import ParallelBeam
    from imagereg.measurement import Measurement

    geometry = ParallelBeam(np.linspace(0, np.pi, 7, endpoint=False), 6, rows=5)
    watched = Watched(VALUES)
    scan = Measurement(watched, geometry=geometry)
    part = scan.select(views=slice(None, None, 2), rows=slice(1, 4), lazy=True)
    assert watched.fetched == []
    assert part.data.shape == (4, 3, 6)
    assert np.array_equal(np.asarray(part.select(rows=slice(1, 2)).data), VALUES[::2, 2:3])
    assert watched.fetched == [4 * 6]
    assert np.array_equal(scan.select(views=slice(None, None, 2), rows=slice(1, 4)).data, VALUES[::2, 1:4])


def test_only_the_part_asked_for_is_read() -> None:
    base = Watched(VALUES)
    _ = base[2]
    _ = base[[1, 2, 6], 3]
    assert base.fetched == [30, 12, 6]
    _ = base[4:4], base[:, :0]
    assert len(base.fetched) == 3


@pytest.mark.parametrize("key", [7, (0, 0, 6), (0, 0, 0, 0), (..., ...), [9], None, ([0], [1]), "a"])
def test_wrong_indices_are_index_errors(key: Any) -> None:
    with pytest.raises(IndexError):
        Watched(VALUES)[key]


def test_array_protocol_reads_all() -> None:
    lazy = Watched(VALUES)
    np.testing.assert_array_equal(np.asarray(lazy, dtype=np.float32), VALUES)
    assert (len(lazy), lazy.ndim, lazy.size, lazy.nbytes) == (7, 3, 210, 420)
    with pytest.raises(ValueError, match="copy"):
        np.array(lazy, copy=False)
    np.testing.assert_array_equal(fix(lazy, 1, 2)[...], VALUES[:, 2])


@pytest.mark.parametrize("stored", ["<i2", ">i2", ">f4", "<u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_raw_arrays_map_any_byte_order_and_pickle(tmp_path: Path, stored: str, order: Any) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(b"header--" + VALUES.astype(stored).tobytes(order))
    lazy = RawArray(path, VALUES.shape, np.dtype(stored), 8, order)
    again = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(again[1:6:2, ::-1], VALUES[1:6:2, ::-1])
    assert again.dtype.isnative
    assert str(path) in str(lazy)


def test_a_file_cut_short_is_refused_when_opened_and_one_that_vanishes_when_read(tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(VALUES.tobytes()[:-2])
    with pytest.raises(InputError, match="cut short"):
        RawArray(path, VALUES.shape, VALUES.dtype)
    path.write_bytes(VALUES.tobytes())
    lazy = RawArray(path, VALUES.shape, VALUES.dtype)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        lazy[0]
