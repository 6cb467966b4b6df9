"""What all writers of volumes have in common: slabs in any order, nothing seen before the end."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.io.atomic import Replacement
from imagereg.io.complaints import writing

CHUNK = (32, 256, 256)
"""Shape of a chunk: about 8 MB, a slice read from it costs one in 32 of the volume."""

VOLATILE = ("created", "seconds", "peak_memory_mb")
"""What differs between two runs of the same recipe; it stays out of image files."""


@dataclass(frozen=True)
class Header:
    """What goes into a file beside the numbers.

    Parameters
    ----------
    shape, chunks : of the whole and of one chunk.
    axes : letters in the order of `shape`, of C, Z, Y, X.
    voxel : edges in `unit` in the order of the spatial axes; empty where unknown.
    unit : unit of `voxel`: 'mm', 'um', ... or 'pixel'.
    metadata : plain values; times and memory are left out, so that the same recipe gives the same bytes.
    recipe : text of the recipe.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    axes: str
    voxel: tuple[float, ...] = ()
    unit: str = "mm"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        chunks: Sequence[int] | None,
        voxel: float | Sequence[float],
        *,
        unit: str,
        axes: str,
        metadata: Mapping[str, Any],
        recipe: str,
    ) -> Header:
        """A header from what a caller gives, checked.

        Raises
        ------
        UsageError
            When shape, axes, chunks and voxel do not fit together.
        """
        shape = tuple(int(length) for length in shape)
        axes = axes or "ZYX"[-len(shape) :]
        if len(axes) != len(shape) or len(shape) < 2 or min(shape) < 1:
            raise UsageError(f"shape {shape} with axes {axes!r} is no image; give (H, W) or (N, H, W).")
        spatial = [letter for letter in axes if letter != "C"]
        edges = (float(voxel),) * len(spatial) if isinstance(voxel, int | float) else tuple(map(float, voxel))
        if edges and (len(edges) != len(spatial) or not all(0 < edge < math.inf for edge in edges)):
            raise UsageError(
                f"voxel={voxel!r}: give {len(spatial)} positive edges, one for each of {spatial}."
            )
        if chunks is None:
            by_axis = dict(zip("ZYX", CHUNK, strict=True))
            chunks = [by_axis.get(letter, 1) for letter in axes]
        if len(chunks) != len(shape) or min(chunks) < 1:
            raise UsageError(
                f"chunks={tuple(chunks)}: give one positive number for each of {len(shape)} axes."
            )
        fitted = tuple(min(int(chunk), length) for chunk, length in zip(chunks, shape, strict=True))
        stable = {key: value for key, value in metadata.items() if key not in VOLATILE}
        return cls(shape, fitted, axes, edges, unit if edges else "pixel", plain(stable), recipe)

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers in float32."""
        return math.prod(self.shape) * 4

    @property
    def edges(self) -> tuple[float, ...]:
        """Edges in the order of `axes`, 1 for colour and where they are unknown."""
        spatial = iter(self.voxel or (1.0,) * len(self.axes))
        return tuple(1.0 if letter == "C" else next(spatial) for letter in self.axes)


class VolumeWriter(ABC):
    """A volume in the making: `writer[k0:k1] = slab`, then `close` or the end of its `with` block.

    Slabs cover the first axis; they may come in any order and again. Until all is written and closed, the
    output is under a hidden name beside its place; `discard`, or a block that fails, removes it.

    Raises
    ------
    UsageError
        When the output exists, a slab does not fit, or slices are missing at the end.
    InputError, ResourceError
        When the place cannot be written or is full.
    """

    def __init__(self, path: Path, header: Header, *, overwrite: bool = False) -> None:
        self.header = header
        self._there = Replacement(path, overwrite=overwrite, needed=header.nbytes)
        self._missing = np.ones(header.shape[0], bool)
        self._open = True
        with self._or_nothing():
            self._begin(self._there.partial)

    @property
    def path(self) -> Path:
        """Where the volume will be."""
        return self._there.path

    def __setitem__(self, index: Any, slab: Any) -> None:
        if not self._open:
            raise UsageError(f"{self.path} is closed; open it anew to write more.")
        length = self.header.shape[0]
        if index is Ellipsis:
            index = slice(None)
        elif isinstance(index, int | np.integer):
            index, slab = slice(int(index), int(index) + 1), slab[None]
        start, stop, step = index.indices(length)
        if hasattr(slab, "detach"):
            slab = slab.detach().cpu().numpy()
        values = np.ascontiguousarray(slab, dtype=np.float32)
        wanted = (max(0, stop - start), *self.header.shape[1:])
        if step != 1 or values.shape != wanted:
            raise UsageError(
                f"{self.path}: a slab of shape {values.shape} does not fit {start}:{stop} of "
                f"{self.header.shape}."
            )
        if values.size == 0:
            return
        with self._or_nothing():
            self._store(start, values)
        self._missing[start:stop] = False

    def close(self) -> Path:
        """Finish the file and put it in its place."""
        if not self._open:
            return self.path
        left = np.flatnonzero(self._missing)
        with self._or_nothing():
            if left.size:
                raise UsageError(
                    f"{self.path}: {left.size} of {self._missing.size} slices were not written, the first is "
                    f"{left[0]}; nothing was kept."
                )
            self._finish()
            self._there.finish()
        self._open = False
        return self.path

    def discard(self) -> None:
        """Give up and leave nothing behind."""
        if self._open:
            self._open = False
            with contextlib.suppress(Exception):
                self._abandon()
            self._there.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    @contextlib.contextmanager
    def _or_nothing(self) -> Any:
        try:
            with writing(self._there.path):
                yield
        except BaseException:
            self.discard()
            raise

    # ------------------------------------------------------------------ what a format gives
    @abstractmethod
    def _begin(self, partial: Path) -> None:
        """Make the file or folder."""

    @abstractmethod
    def _store(self, start: int, slab: NDArray[np.float32]) -> None:
        """Write a slab from index `start` of the first axis on."""

    @abstractmethod
    def _finish(self) -> None:
        """Flush and close; afterwards the file is complete under its hidden name."""

    @abstractmethod
    def _abandon(self) -> None:
        """Let go of whatever is open."""


def plain(values: Any) -> Any:
    """Values that JSON can hold: NumPy's as Python's, what is not finite as None, the rest as text."""
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if hasattr(values, "tolist"):
        return plain(values.tolist())
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    return values if values is None or isinstance(values, bool | int | str) else str(values)
