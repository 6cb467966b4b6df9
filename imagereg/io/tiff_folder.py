"""Folders of TIFF frames: which are projections, which flats, which darks."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError
from imagereg.io import frame_names
from imagereg.io.lazy import Box, LazyArray

_SUFFIXES = (".tif", ".tiff")
_RADIOGRAPHS = re.compile(r"^(proj|radio)", re.IGNORECASE)
_SAMPLES = re.compile(r"^(proj|tomo|sample|radio|data|scan|images?|frames?|raw|recon|slices?)", re.IGNORECASE)


class _Heard(logging.Handler):
    """Keeps what tifffile logs instead of raising."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A TIFF file open for reading, its pages counted.

    Raises
    ------
    InputError
        When the chain of pages breaks off, which tifffile only logs.
    """
    import tifffile

    heard, logger = _Heard(), logging.getLogger("tifffile")
    before = logger.propagate
    logger.addHandler(heard)
    logger.propagate = False
    try:
        with tifffile.TiffFile(path) as file:
            pages, _ = len(file.pages), file.series
            broken = ("invalid page offset", "invalid circular reference", "raised TiffFileError")
            if any(sign in message for message in heard.messages for sign in broken):
                raise InputError(
                    f"{path}: the file is cut short or damaged, {pages} of its frames are left; copy it."
                )
            yield file
    finally:
        logger.removeHandler(heard)
        logger.propagate = before


@dataclass(frozen=True, eq=False, repr=False)
class FileFrames(LazyArray):
    """One TIFF file a frame."""

    path: Path
    files: tuple[Path, ...]
    frame: tuple[int, ...]
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", (len(self.files), *self.frame))

    def _fetch(self, box: Box) -> NDArray[Any]:
        import tifffile

        frames = []
        for file in self.files[box[0]]:
            values = tifffile.imread(file)
            if values.shape != self.frame:
                raise InputError(f"{file}: the frame is {values.shape}, the others are {self.frame}.")
            frames.append(values[box[1:]])
        return np.asarray(frames, dtype=self.dtype)


@dataclass(frozen=True)
class Folder:
    """The TIFF files of a folder by role, in natural order.

    Flats and darks are files with flat, ff, ob, white, ... or dark, df, di, ... in their names (see
    `frame_names`), or in sub-folders of such names; projections are the other files of the
    folder, or of its one other sub-folder.
    """

    path: Path
    files: dict[str, tuple[Path, ...]]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> Folder:
        """Look through a folder.

        Raises
        ------
        InputError
            When there are no projections, or several sub-folders that could hold them.
        """
        files: dict[str, list[Path]] = {"projections": [], "flats": [], "darks": [], "others": []}
        notes: list[str] = []
        _sort(tiffs(path), files)
        others = []
        for folder in natural(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")):
            meant = frame_names.role(folder.name)
            if meant:
                files[meant].extend(tiffs(folder))
            elif tiffs(folder):
                others.append(folder)
        if not files["projections"]:
            likely = [folder for folder in others if _SAMPLES.match(folder.name)] or others
            if len(likely) > 1:
                names = ", ".join(folder.name for folder in likely)
                raise InputError(f"{path}: several sub-folders hold TIFF files ({names}); name one of them.")
            for folder in likely:
                _sort(tiffs(folder), files)
                for inner in natural(p for p in folder.iterdir() if p.is_dir()):
                    files[frame_names.role(inner.name) or "others"].extend(tiffs(inner))
                notes.append(f"projections were found in the sub-folder {folder.name}.")
        if not files["projections"]:
            raise InputError(f"{path}: there is no TIFF file in it that could be a projection or an image.")
        for role in ("flats", "darks"):
            if files[role]:
                notes.append(
                    f"{len(files[role])} {role} were found by their names ({files[role][0].name}, ...)."
                )
        return cls(path, {role: tuple(found) for role, found in files.items()}, notes)

    @property
    def radiographs(self) -> str:
        """What says that the frames are of a scan, in words; '' where nothing does."""
        if self.files["flats"] or self.files["darks"]:
            return "flats or darks"
        frames = self.files["projections"]
        named = len(frames) >= 8 and all(_RADIOGRAPHS.match(file.name) for file in frames)
        return "frames that are called projections" if named else ""

    def check(self, *, is_scan: bool, numbered: bool) -> None:
        """Refuse projections of several names in one scan, and a numbering with gaps.

        Parameters
        ----------
        is_scan : whether the frames are views.
        numbered : whether each frame has an angle of its own, so that a gap may be meant.

        Raises
        ------
        InputError
            Where one of them is so.
        """
        frames = self.files["projections"]
        names = frame_names.series(frames)
        if is_scan and len(names) > 1:
            listed = ", ".join(f"{name} ({count})" for name, count in names.most_common(4))
            raise InputError(
                f"{self.path}: the projections are of several names, {listed}; move those of one scan into a "
                "folder of their own."
            )
        gone = frame_names.missing(frames)
        if gone and not (is_scan and numbered):
            raise InputError(
                f"{self.path}: {len(gone)} frames are missing in the numbering ({', '.join(gone[:3])}, "
                "...); copy them, or give the hint angles with one angle for each frame that is there."
            )

    def stack(self, role: str) -> Any:
        """The frames of a role, lazy where each file is one frame; None where there are none.

        Raises
        ------
        InputError
            When frames are of different sizes or types.
        """
        import tifffile

        files = self.files[role]
        if not files:
            return None
        with opened(files[0]) as file:
            shape, dtype = tuple(file.series[0].shape), np.dtype(file.series[0].dtype).newbyteorder("=")
        if len(files) == 1:
            return np.asarray(tifffile.imread(files[0]))
        if len(shape) == 3 and role != "projections":
            return np.concatenate([tifffile.imread(file) for file in files])
        if len(shape) != 2:
            raise InputError(
                f"{files[0]}: a frame of shape {shape} in a folder of frames; give the file itself."
            )
        self._same_size(files, shape)
        return FileFrames(self.path, files, shape, dtype)

    def _same_size(self, files: Sequence[Path], shape: tuple[int, ...]) -> None:
        sizes = [file.stat().st_size for file in files]
        empty = next((file for file, size in zip(files, sizes, strict=True) if size == 0), None)
        if empty is not None:
            raise InputError(f"{empty}: the file is empty; copy it again.")
        # Headers are read where the files' lengths differ; equal lengths of equal cameras mean equal frames.
        suspects = files if len(set(sizes)) > 1 else (files[-1],)
        for suspect in suspects:
            with opened(suspect) as file:
                other = tuple(file.series[0].shape)
            if other != shape:
                raise InputError(
                    f"{self.path}: frames are of different sizes, {files[0].name} is {shape} and "
                    f"{suspect.name} is {other}; keep those of one size."
                )


def _sort(found: Sequence[Path], files: dict[str, list[Path]]) -> None:
    """Put files to those of their role."""
    for file, meant in zip(found, frame_names.roles([file.name for file in found]), strict=True):
        files[meant or "projections"].append(file)


def is_tiff_folder(path: Path) -> bool:
    """True for a folder that has TIFF files in it or in a folder of it."""
    try:
        return bool(tiffs(path)) or any(tiffs(sub) for sub in path.iterdir() if sub.is_dir())
    except OSError:
        return False


def tiffs(folder: Path) -> list[Path]:
    """The TIFF files of a folder in natural order."""
    return natural(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".") and p.is_file()
    )


def natural(paths: Any) -> list[Path]:
    """Paths in the order that people count in: 2 before 10."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", path.name.lower())
        return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part]

    return sorted(paths, key=key)
