"""HDF5 in NeXus' manner: NXdata with coordinates along its axes, NXprocess with the account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import imagereg
from imagereg.io.volume_writer import VolumeWriter


class Hdf5Writer(VolumeWriter):
    """`/entry/data/image` with its axes, `/entry/process` with recipe and provenance."""

    def _begin(self, partial: Path) -> None:
        import h5py

        header = self.header
        self._file: Any = h5py.File(partial, "w")
        self._file.attrs["default"] = "entry"
        entry = _group(self._file, "entry", "NXentry", default="data")
        data = _group(entry, "data", "NXdata", signal="image", axes=list(header.axes.lower()))
        self._image = data.create_dataset(
            "image", header.shape, np.float32, chunks=header.chunks, track_times=False
        )
        for letter, edge, length in zip(header.axes, header.edges, header.shape, strict=True):
            points = data.create_dataset(
                letter.lower(), data=(np.arange(length) - (length - 1) / 2) * edge, track_times=False
            )
            points.attrs["units"] = "" if letter == "C" else header.unit
            points.attrs["step"] = edge
        process = _group(entry, "process", "NXprocess")
        for name, text in {
            "program": "imagereg",
            "version": imagereg.__version__,
            "recipe": header.recipe,
            "provenance": json.dumps(header.metadata, sort_keys=True),
        }.items():
            process.create_dataset(name, data=text, track_times=False)

    def _store(self, start: int, slab: NDArray[np.float32]) -> None:
        self._image[start : start + slab.shape[0]] = slab

    def _finish(self) -> None:
        self._file.flush()
        self._file.close()

    def _abandon(self) -> None:
        if getattr(self, "_file", None):
            self._file.close()


def _group(parent: Any, name: str, kind: str, **attributes: Any) -> Any:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    for key, value in attributes.items():
        group.attrs[key] = value
    return group
