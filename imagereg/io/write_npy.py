"""NumPy's .npy: the bare numbers, without voxel, recipe and provenance."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagereg.io.volume_writer import VolumeWriter


class NpyWriter(VolumeWriter):
    """Slabs are written to their places behind NumPy's header."""

    def _begin(self, partial: Path) -> None:
        self._file = partial.open("w+b")
        description = {"descr": "<f4", "fortran_order": False, "shape": self.header.shape}
        np.lib.format.write_array_header_1_0(self._file, description)
        self._offset = self._file.tell()

    def _store(self, start: int, slab: NDArray[np.float32]) -> None:
        self._file.seek(self._offset + start * (self.header.nbytes // self.header.shape[0]))
        self._file.write(slab.astype("<f4", copy=False).data.cast("B"))

    def _finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _abandon(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
