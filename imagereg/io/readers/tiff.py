"""TIFF: one image, a stack, ImageJ's and OME's, and folders of frames."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import InputError, UsageError
from imagereg.io import frame_names
from imagereg.io.angles import angles_beside
from imagereg.io.base import Reader, starts_with
from imagereg.io.budget import afford, sensible, swollen
from imagereg.io.file_contents import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.lazy import Box, LazyArray, RawArray
from imagereg.io.lengths import in_mm
from imagereg.io.tiff_folder import Folder, is_tiff_folder, opened
from imagereg.io.tiff_pages import lost_pages
from imagereg.measurement import Measurement, Source

SUFFIXES = (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".btf")
_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


@dataclass(frozen=True, eq=False, repr=False)
class TiffPages(LazyArray):
    """The pages of a file's first series, compressed or scattered: decoded when they are asked for."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    page_ndim: int

    def further(self) -> tuple[Path, ...]:
        """The other files of an OME-TIFF whose pages lie in several."""
        with opened(self.path) as file:
            pages = [page for page in file.series[0].pages if page is not None]
            files = {Path(page.parent.filehandle.path) for page in pages}
        return tuple(sorted(files - {self.path}))

    def _fetch(self, box: Box) -> NDArray[Any]:
        leading = self.shape[: self.ndim - self.page_ndim]
        inner = box[len(leading) :]
        places = [range(part.start, part.stop, part.step or 1) for part in box[: len(leading)]]
        frames = []
        with opened(self.path) as file:
            pages = file.series[0].pages
            for place in product(*places):
                page = pages[int(np.ravel_multi_index(place, leading)) if leading else 0]
                if page is None:
                    raise InputError(f"{self.path}: frame {place} is missing; the file is incomplete.")
                # Squeezed and reshaped, as a page keeps axes of length one that its series drops.
                frames.append(page.asarray().reshape(self.shape[len(leading) :])[inner])
        counts = [len(range(part.start, part.stop, part.step or 1)) for part in box[: len(leading)]]
        return np.asarray(frames, dtype=self.dtype).reshape(*counts, *frames[0].shape)


class Tiff(Reader):
    """TIFF files and folders of them; a scan where angles are given or lie beside, images otherwise."""

    name: ClassVar[str] = "tiff"
    title: ClassVar[str] = "TIFF"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    priority: ClassVar[int] = 60
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | IMAGE_HINTS

    def sniff(self, path: Path) -> bool:
        """True for a TIFF file, or a folder that has some."""
        if path.is_dir():
            return is_tiff_folder(path)
        return starts_with(path, *_SIGNATURES)

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The stack in a file, or the frames of a folder with its flats and darks."""
        folder = Folder.of(path) if path.is_dir() else None
        found = self._file(path) if folder is None else self._folder(folder)
        frames = found.data.shape[0] if len(found.data.shape) == 3 else 1
        if "angles" not in hints:
            found.angles, found.angle_unit, said = angles_beside(path, frames)
            found.notes.extend([said] if said else [])
        is_scan = "angles" in hints or "geometry" in hints or found.angles is not None
        if folder is not None:
            spread = isinstance(hints.get("angles"), str) and "linspace" in hints["angles"]
            folder.check(
                is_scan=is_scan, numbered=not spread and (found.angles is not None or "angles" in hints)
            )
        if not is_scan:
            if folder is not None and folder.radiographs and hints.get("quantity") != "image":
                raise UsageError(
                    f"{path}: has {folder.radiographs} and no angles; give angles='linspace(0, 180, N)' or "
                    "the like for a scan, or quantity='image' for pictures."
                )
            return image(found, hints)
        if "S" in found.axes:
            raise InputError(f"{path}: colour frames are no scan; save them as grey values.")
        found.axes = ()
        found.pixel, found.row_pixel = found.voxel.get("X"), found.voxel.get("Y")
        whole = found.data.dtype.kind in "iu" or found.flats is not None
        found.quantity = "counts" if whole else "line_integrals"
        if "quantity" not in hints:
            kind = "whole numbers or come with flats" if whole else "fractions without flats"
            found.notes.append(
                f"the values are {kind}: taken as {found.quantity.replace('_', ' ')}; give the hint quantity "
                "if they are not."
            )
        return scan(found, hints)

    def _folder(self, folder: Folder) -> Found:
        path = folder.path
        alone = folder.files["projections"]
        found = self._file(alone[0]) if len(alone) == 1 else Found(Source(path, self.name), None)
        if len(alone) > 1:
            found.data = folder.stack("projections")
        found.flats, found.darks = folder.stack("flats"), folder.stack("darks")
        times = frame_names.flat_times(folder.files["flats"], len(alone))
        if found.flats is not None and times is not None and len(times) == found.flats.shape[0]:
            found.flat_times = times
            found.notes.append("the names of the flats tell when in the scan they were taken.")
        found.notes.extend(folder.notes)
        return found

    def _file(self, path: Path) -> Found:
        with opened(path) as file:
            series = _main_series(file, path)
            lost_pages(path, file)
            found = Found(Source(path, self.name), stored(path, series), tuple(series.axes))
            found.voxel = voxel_size(file)
            if len(file.series) > 1:
                found.notes.append(f"the file has {len(file.series)} images of its own; the first was taken.")
        return found


def stored(path: Path, series: Any) -> LazyArray:
    """A series as it lies in its file: mapped where it is one run of numbers, by pages otherwise."""
    shape = tuple(int(length) for length in series.shape)
    dtype = np.dtype(series.dtype)
    sensible(path, "the image", shape, dtype)
    if series.dataoffset is not None and dtype.kind in "iuf":
        order = series.pages[0].parent.byteorder
        return RawArray(path, shape, dtype.newbyteorder(order), int(series.dataoffset))
    _complete(path, series)
    packed = sum(series.keyframe.databytecounts)
    afford(path, "a page", series.keyframe.nbytes, packed)
    swollen(path, "a page", series.keyframe.nbytes, packed)
    page = math.prod(series.keyframe.shape)
    page_ndim = next(n for n in range(1, len(shape) + 1) if math.prod(shape[-n:]) >= page)
    return TiffPages(path, shape, dtype.newbyteorder("="), page_ndim)


def _complete(path: Path, series: Any) -> None:
    """Refuse a file whose last page points behind its end, or that lacks pages, before hours of work."""
    gone = [number for number, page in enumerate(series.pages) if page is None]
    if gone:
        raise InputError(
            f"{path}: {len(gone)} of its {len(series.pages)} frames are missing (the first is {gone[0]}), a "
            "file that belongs to it is not there; copy all of them into one folder."
        )
    size = path.stat().st_size
    last = series.pages[len(series.pages) - 1]
    if last is None or getattr(last, "parent", None) is None or Path(last.parent.filehandle.path) != path:
        return
    end = max((o + n for o, n in zip(last.dataoffsets, last.databytecounts, strict=False)), default=0)
    if end > size:
        raise InputError(f"{path}: the file is cut short, it has {size} bytes of {end}; copy it again.")


def voxel_size(file: Any) -> dict[str, float]:
    """Edges of a pixel in mm by axis, from OME's or ImageJ's metadata; empty where there is none.

    The resolution tags of other files are mostly a printer's and are not believed.
    """
    voxel: dict[str, float] = {}
    if file.is_ome and file.ome_metadata:
        for letter in "ZYX":
            size = re.search(rf'\bPhysicalSize{letter}="([^"]+)"', file.ome_metadata)
            named = re.search(rf'\bPhysicalSize{letter}Unit="([^"]+)"', file.ome_metadata)
            if size:
                edge = in_mm(float(size.group(1)), named.group(1) if named else "um")
                if edge is not None:
                    voxel[letter] = edge
    elif file.is_imagej:
        metadata = file.imagej_metadata or {}
        unit = str(metadata.get("unit", ""))
        tags = file.pages[0].tags
        for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
            if tag in tags and unit:
                above, below = tags[tag].value
                edge = in_mm(below / above, unit) if above else None
                if edge is not None:
                    voxel[letter] = edge
        if "spacing" in metadata and voxel:
            edge = in_mm(float(metadata["spacing"]), unit)
            if edge is not None:
                voxel["Z"] = edge
    return voxel


def _main_series(file: Any, path: Path) -> Any:
    if not file.series:
        raise InputError(f"{path}: the TIFF file has no image in it.")
    series = file.series[0]
    sensible(path, "the image", series.shape, np.dtype(series.dtype))
    if len(series.shape) < 2:
        raise InputError(
            f"{path}: an image of type {series.dtype} and shape {series.shape} is not supported."
        )
    different = {page.shape for one in file.series for page in one.pages if page is not None}
    if len(file.series) > 1 and len(file.series) == len(file.pages) and len(different) > 1:
        shapes = ", ".join(str(shape) for shape in sorted(different)[:4])
        raise InputError(f"{path}: its frames are of different sizes ({shapes}); keep those of one size.")
    return series
