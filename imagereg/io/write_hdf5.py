"""HDF5 in NeXus' manner: NXdata with coordinates along its axes, NXprocess with the account."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

import imagereg
from imagereg.io.raw_writer import RawWriter


class Hdf5Writer(RawWriter):
    """`/entry/data/image` with its axes, `/entry/process` with recipe and provenance.

    Everything but the image is drawn up in memory and written as the head of the file, the image's place
    behind it. So HDF5 itself never meets a full disk, from which its files cannot be closed.
    """

    def _lay_out(self, partial: Path) -> int:
        import h5py

        header, drawn = self.header, io.BytesIO()
        # Newer layouts of HDF5 stretch the file to its full length when it is closed, here in memory.
        with h5py.File(drawn, "w", libver=("earliest", "v110")) as file:
            file.attrs["default"] = "entry"
            entry = _group(file, "entry", "NXentry", default="data")
            process = _group(entry, "process", "NXprocess")
            for name, text in {
                "program": "imagereg",
                "version": imagereg.__version__,
                "recipe": header.recipe,
                "provenance": json.dumps(header.metadata, sort_keys=True),
            }.items():
                process.create_dataset(name, data=text, track_times=False)
            data = _group(entry, "data", "NXdata", signal="image", axes=list(header.axes.lower()))
            for letter, edge, length in zip(header.axes, header.edges, header.shape, strict=True):
                middle = (np.arange(length) - (length - 1) / 2) * edge
                points = data.create_dataset(letter.lower(), data=middle, track_times=False)
                points.attrs["units"] = "" if letter == "C" else header.unit
                points.attrs["step"] = edge
            file.flush()
            offset = _reserve(data, "image", header.shape)
        partial.write_bytes(drawn.getbuffer())
        return offset


def _reserve(group: Any, name: str, shape: tuple[int, ...]) -> int:
    """Make a float32 dataset in one piece whose numbers are not written yet; returns where they begin."""
    from h5py import h5d, h5p, h5s, h5t

    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.CONTIGUOUS)
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)
    dataset = h5d.create(group.id, name.encode(), h5t.IEEE_F32LE, h5s.create_simple(shape), layout)
    return int(dataset.get_offset())


def _group(parent: Any, name: str, kind: str, **attributes: Any) -> Any:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    for key, value in attributes.items():
        group.attrs[key] = value
    return group
