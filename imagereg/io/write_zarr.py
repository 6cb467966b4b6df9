"""OME-Zarr 0.5: Zarr version 3 with axes, units and a pyramid (https://ngff.openmicroscopy.org/0.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import imagereg
from imagereg.cores import usable_cores
from imagereg.errors import UsageError
from imagereg.io.lengths import long_name
from imagereg.io.volume_writer import Header, VolumeWriter

SMALLEST = 64
"""An axis is halved from level to level as long as it is longer than this."""

MOST_THREADS = 16
"""Chunks that are made at a time at most, so that their memory stays small."""

Box = tuple[slice, ...]


class OmeZarrWriter(VolumeWriter):
    """Slabs go into level 0; the other levels are means of 2 x 2 x 2 voxels of the level before."""

    def _begin(self, partial: Path) -> None:
        import zarr

        letters = self.header.axes
        if "C" in letters[1:]:
            ordered = "C" + letters.replace("C", "")
            raise UsageError(
                f"OME-Zarr has channels before all else: give axes={ordered!r}, not {letters!r}."
            )
        self._group: Any = zarr.create_group(partial, zarr_format=3)
        self._levels = pyramid(self.header)
        self._arrays = [self._array(level, shape) for level, (shape, _) in enumerate(self._levels)]

    def _array(self, level: int, shape: tuple[int, ...]) -> Any:
        from zarr.codecs import BloscCodec

        chunks = tuple(min(chunk, length) for chunk, length in zip(self.header.chunks, shape, strict=True))
        return self._group.create_array(
            str(level),
            shape=shape,
            chunks=chunks,
            dtype="float32",
            # As small as Zstandard makes noisy images, several times quicker to write and to read.
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
            fill_value=0,
            dimension_names=list(self.header.axes.lower()),
        )

    def _store(self, start: int, slab: NDArray[np.float32]) -> None:
        put(self._arrays[0], start, slab)

    def _abandon(self) -> None:
        """Nothing stays open: each access opens the files of its chunks."""

    def _finish(self) -> None:
        for level in range(1, len(self._arrays)):
            halve(self._arrays[level - 1], self._arrays[level])
        self._group.attrs.update(attributes(self.header, self._levels))


def pyramid(header: Header) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(shape, reduction) of each level, full resolution first."""
    shape, factors = header.shape, (1,) * len(header.shape)
    levels = [(shape, factors)]
    while True:
        halved = [letter != "C" and n > SMALLEST for letter, n in zip(header.axes, shape, strict=True)]
        if not any(halved) or max(shape[-2:]) <= 4 * SMALLEST:
            return levels
        shape = tuple(math.ceil(n / 2) if h else n for n, h in zip(shape, halved, strict=True))
        factors = tuple(f * 2 if h else f for f, h in zip(factors, halved, strict=True))
        levels.append((shape, factors))


def attributes(header: Header, levels: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> dict[str, Any]:
    """The attributes of the group: OME's multiscales and our own account."""
    from ome_zarr_models.v05.axes import Axis
    from ome_zarr_models.v05.image import ImageAttrs
    from ome_zarr_models.v05.multiscales import Dataset, Multiscale

    unit = long_name(header.unit) or None
    axes = [
        Axis(name="c", type="channel")
        if letter == "C"
        else Axis(name=letter.lower(), type="space", unit=unit)
        for letter in header.axes
    ]
    datasets = []
    for level, (_, factors) in enumerate(levels):
        scale = [edge * factor for edge, factor in zip(header.edges, factors, strict=True)]
        # The middle of a coarse voxel lies between those of the fine ones that it averages.
        shift = [edge * (factor - 1) / 2 for edge, factor in zip(header.edges, factors, strict=True)]
        datasets.append(
            Dataset.build(path=str(level), scale=scale, translation=shift if any(shift) else None)
        )
    image = Multiscale(axes=axes, datasets=tuple(datasets), name="image", type="mean")
    described = ImageAttrs(version="0.5", multiscales=[image])
    return {
        "ome": described.model_dump(mode="json", exclude_none=True),
        "imagereg": {
            "version": imagereg.__version__,
            "provenance": dict(header.metadata),
            "recipe": header.recipe,
        },
    }


def halve(fine: Any, coarse: Any) -> None:
    """Fill a level with means over the voxels of the finer one, in pieces of about one chunk of that."""
    factors = tuple(math.ceil(f / c) for f, c in zip(fine.shape, coarse.shape, strict=True))

    def make(there: Box) -> None:
        shape = tuple(axis.stop - axis.start for axis in there)
        block = np.empty(shape, np.float32)
        for part in boxes((0,) * coarse.ndim, shape, tuple(math.ceil(n / 2) for n in shape)):
            ends = zip(there, part, factors, strict=True)
            source = tuple(slice((t.start + p.start) * f, (t.start + p.stop) * f) for t, p, f in ends)
            block[part] = block_means(np.asarray(fine[source]), factors)
        coarse[there] = block

    side_by_side(make, boxes((0,) * coarse.ndim, coarse.shape, coarse.chunks))


def side_by_side(make: Callable[[Box], None], pieces: Iterable[Box]) -> None:
    """Call `make` for every piece, in threads; the first error is raised when none of them works any more.

    Zarr writes the chunks of one assignment side by side too, but when one of them fails the others go on
    behind the caller's back and make again the folder that has just been removed. So each call is to write
    one chunk, and all calls are waited for here.
    """
    with ThreadPoolExecutor(min(MOST_THREADS, usable_cores())) as pool:
        waiting = [pool.submit(make, piece) for piece in pieces]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def boxes(start: tuple[int, ...], lengths: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[Box]:
    """A box of these lengths from `start` on, cut where chunks meet."""
    ranges = []
    for first, length, chunk in zip(start, lengths, chunks, strict=True):
        edges = range(first // chunk * chunk, first + length, chunk)
        ranges.append([slice(max(edge, first), min(edge + chunk, first + length)) for edge in edges])
    yield from product(*ranges)


def put(array: Any, start: int, slab: NDArray[np.float32]) -> None:
    """Write a slab chunk by chunk."""
    origin = (start, *(0 for _ in slab.shape[1:]))

    def store(there: Box) -> None:
        here = tuple(
            slice(axis.start - first, axis.stop - first) for axis, first in zip(there, origin, strict=True)
        )
        array[there] = slab[here]

    side_by_side(store, boxes(origin, slab.shape, array.chunks))


def block_means(values: NDArray[np.float32], factors: tuple[int, ...]) -> NDArray[np.float32]:
    """Means over blocks of one or two elements an axis; what sticks out at an odd end is kept as it is."""
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        along = (slice(None),) * axis
        pairs = values.shape[axis] // 2 * 2
        halved = values[(*along, slice(0, pairs, 2))] + values[(*along, slice(1, pairs, 2))]
        halved *= 0.5
        end = values[(*along, slice(pairs, None))]
        values = np.concatenate([halved, end], axis=axis) if end.size else halved
    return values
