"""Arrays that stay in their file until a part of them is asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError
from imagereg.io.complaints import reading

Box = tuple[slice, ...]


class LazyArray(ABC):
    """What looks like an array and reads from a file when it is sliced.

    It holds the path and the place inside the file, no open handle, so it can be pickled and sent to
    another process. Integers, slices, an ellipsis and, on one axis, a list of indices or a mask are taken;
    the answer is a NumPy array in memory. `numpy.asarray(lazy)` reads everything.

    Subclasses give `path`, `shape` and `dtype`, and read one box of the array in `_fetch`.

    Raises
    ------
    InputError
        When the file is gone, shorter than it was, or damaged at the place that is read.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def _fetch(self, box: Box) -> NDArray[Any]:
        """Read a box: one slice an axis, inside the array, with positive steps and at least one element."""

    def absent(self) -> str:
        """What of the values is not there and would be read as a fill value, in words; '' for nothing."""
        base = getattr(self, "base", None)
        return base.absent() if isinstance(base, LazyArray) else ""

    def further(self) -> tuple[Path, ...]:
        """Files beside `path` that values come from, by references in it."""
        base = getattr(self, "base", None)
        return base.further() if isinstance(base, LazyArray) else ()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the whole array takes in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a lazy array is in its file: reading it makes a copy.")
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        box: list[slice] = []
        after: list[Any] = []
        picked: tuple[int, NDArray[np.intp]] | None = None
        for axis, (index, length) in enumerate(zip(self._expand(key), self.shape, strict=True)):
            if isinstance(index, slice):
                within, turned = _forwards(index, length)
                box.append(within)
                after.append(turned)
            elif isinstance(index, int | np.integer):
                place = _inside(int(index), axis, length)
                box.append(slice(place, place + 1))
                after.append(0)
            else:
                if picked is not None:
                    raise IndexError("a lazy array takes a list of indices on one axis only.")
                picked = axis, _picks(index, axis, length)
                box.append(slice(0, length))
                after.append(slice(None))
        if picked is None:
            values = self._read(tuple(box))
        else:
            axis, picks = picked
            values = self._gather(box, axis, picks)
        return values[tuple(after)]

    def window(self, *slices: slice) -> LazyArray:
        """`self[slices]`, unread; further axes are taken whole."""
        every = (*slices, *(slice(None),) * (self.ndim - len(slices)))
        return Window(self, tuple(range(n)[part] for n, part in zip(self.shape, every, strict=True)))

    def _expand(self, key: Any) -> list[Any]:
        indices = list(key) if isinstance(key, tuple) else [key]
        if any(index is None for index in indices):
            raise IndexError("a lazy array takes no new axes: read a part first.")
        dots = [place for place, index in enumerate(indices) if index is Ellipsis]
        if len(dots) > 1 or len(indices) - len(dots) > self.ndim:
            raise IndexError(f"too many indices for a lazy array of shape {self.shape}.")
        place = dots[0] if dots else len(indices)
        filler = [slice(None)] * (self.ndim - len(indices) + len(dots))
        return indices[:place] + filler + indices[place + len(dots) :]

    def _read(self, box: Box) -> NDArray[Any]:
        shape = tuple(len(range(part.start, part.stop, part.step or 1)) for part in box)
        if 0 in shape:
            return np.empty(shape, self.dtype)
        with reading(self.path):
            values = self._fetch(box)
        if values.shape != shape:
            raise InputError(f"{self.path}: gave {values.shape} where {shape} was expected; it has changed.")
        return values

    def _gather(self, box: list[slice], axis: int, picks: NDArray[np.intp]) -> NDArray[Any]:
        """Read a list of indices as runs of neighbours, each with one access."""
        wanted, inverse = np.unique(picks, return_inverse=True)
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1) if wanted.size else []
        parts = []
        for run in runs or [np.array([0])[:0]]:
            box[axis] = slice(int(run[0]), int(run[-1]) + 1) if run.size else slice(0, 0)
            parts.append(self._read(tuple(box)))
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)
        in_order = np.array_equal(inverse, np.arange(joined.shape[axis]))
        return joined if in_order else np.take(joined, inverse, axis=axis)

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.shape} {self.dtype} in {self.path}"

    __repr__ = __str__


@dataclass(frozen=True, eq=False, repr=False)
class RawArray(LazyArray):
    """Values that lie one after another in a file, from byte `offset` on.

    `stored` is the type in the file, byte order included; values come in the machine's own byte order.
    """

    path: Path
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    offset: int = 0
    order: str = "C"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", self.stored.newbyteorder("="))
        if min(self.shape, default=0) < 0 or self.offset < 0:
            raise InputError(
                f"{self.path}: its header gives the impossible shape {self.shape}; copy it again."
            )
        needed = self.offset + math.prod(self.shape) * self.stored.itemsize
        held = self.path.stat().st_size
        if held < needed:
            raise InputError(
                f"{self.path}: the file is cut short, it has {held} bytes of the {needed} that its header "
                "promises; copy it again."
            )

    def _fetch(self, box: Box) -> NDArray[Any]:
        order: Any = self.order
        mapped = np.memmap(self.path, self.stored, "r", self.offset, self.shape, order)
        return np.array(mapped[box], dtype=self.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Transposed(LazyArray):
    """A lazy array with its axes in another order."""

    base: LazyArray
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.base.path)
        object.__setattr__(self, "dtype", self.base.dtype)
        object.__setattr__(self, "shape", tuple(self.base.shape[axis] for axis in self.order))

    def _fetch(self, box: Box) -> NDArray[Any]:
        there: list[slice] = [slice(None)] * self.ndim
        for part, axis in zip(box, self.order, strict=True):
            there[axis] = part
        return self.base[tuple(there)].transpose(self.order)


@dataclass(frozen=True, eq=False, repr=False)
class Picked(LazyArray):
    """Some of the frames (indices along the first axis) of a lazy array."""

    base: LazyArray
    picks: NDArray[np.intp]

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.base.path)
        object.__setattr__(self, "dtype", self.base.dtype)
        object.__setattr__(self, "shape", (int(self.picks.size), *self.base.shape[1:]))

    def _fetch(self, box: Box) -> NDArray[Any]:
        return self.base[(self.picks[box[0]], *box[1:])]


@dataclass(frozen=True, eq=False, repr=False)
class Fixed(LazyArray):
    """A lazy array at one index of one of its axes."""

    base: LazyArray
    axis: int
    index: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.base.path)
        object.__setattr__(self, "dtype", self.base.dtype)
        shape = self.base.shape
        object.__setattr__(self, "shape", shape[: self.axis] + shape[self.axis + 1 :])

    def _fetch(self, box: Box) -> NDArray[Any]:
        there: tuple[Any, ...] = (*box[: self.axis], self.index, *box[self.axis :])
        return self.base[there]


@dataclass(frozen=True, eq=False, repr=False)
class Window(LazyArray):
    """A part of a lazy array: one range of indices an axis."""

    base: LazyArray
    ranges: tuple[range, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.base.path)
        object.__setattr__(self, "dtype", self.base.dtype)
        object.__setattr__(self, "shape", tuple(map(len, self.ranges)))

    def _fetch(self, box: Box) -> NDArray[Any]:
        return self.base[tuple(_slice(of[part]) for of, part in zip(self.ranges, box, strict=True))]


def transpose(array: Any, order: Sequence[int]) -> Any:
    """`array` with its axes in another order, lazy where it is lazy."""
    if tuple(order) == tuple(range(len(order))):
        return array
    return Transposed(array, tuple(order)) if isinstance(array, LazyArray) else array.transpose(tuple(order))


def pick(array: Any, indices: Any) -> Any:
    """Some of the frames of `array`, lazy where it is lazy."""
    indices = np.asarray(indices, dtype=np.intp)
    if indices.size == array.shape[0] and np.array_equal(indices, np.arange(indices.size)):
        return array
    return Picked(array, indices) if isinstance(array, LazyArray) else array[indices]


def fix(array: Any, axis: int, index: int = 0) -> Any:
    """`array` at one index of one axis, lazy where it is lazy."""
    return Fixed(array, axis, index) if isinstance(array, LazyArray) else array.take(index, axis=axis)


def _slice(indices: range) -> slice:
    """The slice that gives these indices."""
    # A stop below 0 would count from the end.
    return slice(indices.start, None if indices.stop < 0 else indices.stop, indices.step)


def _forwards(index: slice, length: int) -> tuple[slice, slice]:
    """The same elements with a positive step, and what turns them round afterwards."""
    start, stop, step = index.indices(length)
    count = len(range(start, stop, step))
    if count == 0:
        return slice(0, 0), slice(None)
    if step > 0:
        return slice(start, stop, step), slice(None)
    return slice(start + (count - 1) * step, start + 1, -step), slice(None, None, -1)


def _inside(index: int, axis: int, length: int) -> int:
    if not -length <= index < length:
        raise IndexError(f"index {index} is outside axis {axis} of length {length}.")
    return index % length


def _picks(index: Any, axis: int, length: int) -> NDArray[np.intp]:
    picks = np.asarray(index)
    if picks.dtype == bool and picks.shape == (length,):
        return np.flatnonzero(picks)
    if picks.ndim != 1 or (picks.size and picks.dtype.kind not in "iu"):
        raise IndexError(
            f"axis {axis} of a lazy array takes integers, a slice, a list of integers or a mask."
        )
    picks = picks.astype(np.intp)
    if picks.size and not (-length <= picks.min() and picks.max() < length):
        raise IndexError(f"an index is outside axis {axis} of length {length}.")
    return picks % max(length, 1)
