"""OME-TIFF: one run of float32 numbers behind OME's XML, so that any TIFF reader maps it."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import imagereg
from imagereg.io.lengths import long_name
from imagereg.io.volume_writer import VolumeWriter

_SYMBOLS = {"millimeter": "mm", "micrometer": "µm", "nanometer": "nm", "meter": "m", "centimeter": "cm"}


class OmeTiffWriter(VolumeWriter):
    """The file is laid out first and slabs are written to their places in it.

    Plain writes are used and no memory map, since a full disk under a map ends the process.
    """

    def _begin(self, partial: Path) -> None:
        import tifffile

        header = self.header
        self._offset, _ = tifffile.imwrite(
            partial,
            shape=header.shape,
            dtype=np.float32,
            ome=True,
            bigtiff=header.nbytes > 3 << 30,
            photometric="minisblack",
            metadata=self._metadata(),
            software=f"imagereg {imagereg.__version__}",
            returnoffset=True,
            byteorder="<",
        )
        self._file = os.open(partial, os.O_WRONLY)

    def _store(self, start: int, slab: NDArray[np.float32]) -> None:
        row = self.header.nbytes // self.header.shape[0]
        view, place = memoryview(slab.astype("<f4", copy=False).data).cast("B"), self._offset + start * row
        while view:
            done = os.pwrite(self._file, view[: 1 << 28], place)
            view, place = view[done:], place + done

    def _finish(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1

    def _abandon(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)
            self._file = -1

    def _metadata(self) -> dict[str, Any]:
        header = self.header
        account = json.dumps(header.metadata, sort_keys=True)
        metadata: dict[str, Any] = {
            "axes": header.axes,
            "Name": "image",
            "Creator": f"imagereg {imagereg.__version__}",
            # The same content gives the same bytes; tifffile's own would be new each time.
            "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{header.recipe}{account}{header.shape}')}",
            "MapAnnotation": {"recipe": header.recipe, "provenance": account},
        }
        unit = _SYMBOLS.get(long_name(header.unit))
        if header.voxel and unit:
            for letter, edge in zip(header.axes, header.edges, strict=True):
                if letter != "C":
                    metadata[f"PhysicalSize{letter}"] = edge
                    metadata[f"PhysicalSize{letter}Unit"] = unit
        return metadata
