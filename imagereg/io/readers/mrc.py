"""MRC: electron tilt series and volumes.

Cheng et al., MRC2014: extensions to the MRC format header for electron cryo-microscopy and tomography,
J. Struct. Biol. 192 (2015), doi:10.1016/j.jsb.2015.04.002.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from imagereg.errors import InputError
from imagereg.io.angles import angles_beside
from imagereg.io.base import Reader, starts_with
from imagereg.io.budget import sensible
from imagereg.io.file_contents import IMAGE_HINTS, SCAN_HINTS, Found, image, scan
from imagereg.io.lazy import RawArray
from imagereg.io.lengths import in_mm
from imagereg.measurement import Measurement, Source

_HEADER = 1024


class Mrc(Reader):
    """MRC stacks; a tilt series where tilt angles lie beside (.tlt, .rawtlt, .mdoc) or are given.

    The tilt axis is taken along the rows' direction (Y), as IMOD aligns stacks.
    """

    name: ClassVar[str] = "mrc"
    title: ClassVar[str] = "MRC"
    suffixes: ClassVar[tuple[str, ...]] = (".mrc", ".st", ".ali", ".rec", ".mrcs", ".map", ".preali")
    priority: ClassVar[int] = 70
    hints: ClassVar[frozenset[str]] = SCAN_HINTS | IMAGE_HINTS

    def sniff(self, path: Path) -> bool:
        """True for a file of such a name with the mark 'MAP', or an old one with a sane machine stamp."""
        if not path.is_file() or path.suffix.lower() not in self.suffixes:
            return False
        return starts_with(path, b"MAP", at=208) or starts_with(path, b"\x44", b"\x11\x11", at=212)

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The tilt series or the volume."""
        found = self._file(path)
        volume = path.suffix.lower() == ".rec" and not {"angles", "geometry"} & set(hints)
        if not volume and "angles" not in hints:
            found.angles, found.angle_unit, said = angles_beside(path, found.data.shape[0])
            found.notes.extend([said] if said else [])
        if volume or (found.angles is None and not {"angles", "geometry"} & set(hints)):
            return image(found, hints)
        found.axes = ("views", "rows", "columns") if found.data.ndim == 3 else ("views", "columns")
        found.pixel, found.row_pixel = found.voxel.get("X"), found.voxel.get("Y")
        found.quantity, found.electrons = "line_integrals", True
        if "quantity" not in hints:
            found.notes.append(
                "the intensity is taken as the line integral itself, up to an offset (dark-field electrons); "
                "give quantity='counts' for bright field."
            )
        return scan(found, hints)

    def _file(self, path: Path) -> Found:
        import mrcfile
        from mrcfile.dtypes import HEADER_DTYPE

        if path.stat().st_size < _HEADER:
            raise InputError(f"{path}: the file is shorter than the header of an MRC file; copy it again.")
        # mrcfile would allocate the extended header, whose length a damaged file may give as 2 GB.
        with path.open("rb") as stream:
            content = stream.read(_HEADER)
        order = ">" if content[212:213] == b"\x11" else "<"
        header = np.frombuffer(content, HEADER_DTYPE.newbyteorder(order))[0]
        shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
        mode, extended = int(header["mode"]), int(header["nsymbt"])
        edges = {
            letter: float(header["cella"][letter.lower()]) / max(int(header[f"m{letter.lower()}"]), 1)
            for letter in "ZYX"
        }
        try:
            dtype = np.dtype(mrcfile.utils.dtype_from_mode(mode)).newbyteorder(order)
        except ValueError:
            raise InputError(f"{path}: mode {mode} of the MRC format is not supported.") from None
        sensible(path, "the stack", shape, dtype)
        data: Any = RawArray(path, shape, dtype, _HEADER + extended)
        letters = "ZYX"
        if shape[0] == 1:
            data, letters = data[0], "YX"
        voxel = {letter: in_mm(edge, "angstrom") for letter, edge in edges.items()}
        sizes = {letter: edge for letter, edge in voxel.items() if edge is not None}
        return Found(Source(path, self.name), data, tuple(letters), voxel=sizes)
