"""Files that are a head and then one run of float32 numbers: slabs go straight to their places."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from imagereg.io.volume_writer import VolumeWriter


class RawWriter(VolumeWriter):
    """A writer whose format lays out the file and says where the numbers begin.

    Plain writes are used and no memory map, since a full disk under a map ends the process.
    """

    _file: IO[bytes] | None = None

    @abstractmethod
    def _lay_out(self, partial: Path) -> int:
        """Write the head; returns the byte at which the numbers (little-endian, C order) begin."""

    def _begin(self, partial: Path) -> None:
        self._offset = self._lay_out(partial)
        self._file = partial.open("r+b", buffering=0)
        # TIFF keeps OME's XML behind the numbers, so the file is only ever made longer.
        self._file.truncate(max(self._offset + self.header.nbytes, partial.stat().st_size))

    def _store(self, start: int, slab: NDArray[np.float32]) -> None:
        assert self._file is not None
        self._file.seek(self._offset + start * (self.header.nbytes // self.header.shape[0]))
        left = slab.astype("<f4", copy=False).data.cast("B")
        while left:  # one call of the system writes at most 2 GB
            left = left[self._file.write(left) :]

    def _finish(self) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
