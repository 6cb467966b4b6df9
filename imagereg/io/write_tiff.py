"""OME-TIFF: one run of float32 numbers behind OME's XML, so that any TIFF reader maps it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np

import imagereg
from imagereg.io.lengths import long_name
from imagereg.io.raw_writer import RawWriter

_SYMBOLS = {"millimeter": "mm", "micrometer": "µm", "nanometer": "nm", "meter": "m", "centimeter": "cm"}


class OmeTiffWriter(RawWriter):
    """One image directory a slice, OME's XML in the first, then the numbers."""

    def _lay_out(self, partial: Path) -> int:
        import tifffile

        offset, _ = tifffile.imwrite(
            partial,
            shape=self.header.shape,
            dtype=np.float32,
            ome=True,
            bigtiff=self.header.nbytes > 3 << 30,
            photometric="minisblack",
            metadata=self._metadata(),
            software=f"imagereg {imagereg.__version__}",
            returnoffset=True,
            byteorder="<",
        )
        return int(offset)

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
