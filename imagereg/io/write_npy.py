"""NumPy's .npy: the bare numbers, without voxel, recipe and provenance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imagereg.io.raw_writer import RawWriter


class NpyWriter(RawWriter):
    """NumPy's header, then the numbers."""

    def _lay_out(self, partial: Path) -> int:
        with partial.open("wb") as file:
            description = {"descr": "<f4", "fortran_order": False, "shape": self.header.shape}
            np.lib.format.write_array_header_1_0(file, description)
            return file.tell()
