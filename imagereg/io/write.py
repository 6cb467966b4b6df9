"""Writing images: the format by the name's ending, whole or not at all."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagereg.errors import UsageError
from imagereg.io.volume_writer import Header, VolumeWriter

_FORMATS = {
    ".ome.zarr": ("write_zarr", "OmeZarrWriter"),
    ".zarr": ("write_zarr", "OmeZarrWriter"),
    ".ome.tif": ("write_tiff", "OmeTiffWriter"),
    ".ome.tiff": ("write_tiff", "OmeTiffWriter"),
    ".tif": ("write_tiff", "OmeTiffWriter"),
    ".tiff": ("write_tiff", "OmeTiffWriter"),
    ".h5": ("write_hdf5", "Hdf5Writer"),
    ".hdf5": ("write_hdf5", "Hdf5Writer"),
    ".nxs": ("write_hdf5", "Hdf5Writer"),
    ".npy": ("write_npy", "NpyWriter"),
}

SLAB = 1 << 26
"""Bytes that are copied at a time."""


def write(
    result: Any,
    path: str | Path,
    *,
    voxel: float | Sequence[float] | None = None,
    unit: str | None = None,
    axes: str = "",
    metadata: Mapping[str, Any] | None = None,
    recipe: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an image or a volume in float32; the format follows from the name.

    `.ome.zarr` and `.zarr` are OME-Zarr 0.5 with a pyramid, `.ome.tif` and `.tif` OME-TIFF, `.h5` and `.nxs`
    NeXus HDF5, `.npy` the bare numbers. Nothing is seen under `path` before all is written. The same image
    and recipe give the same bytes: times and memory stay out of the file (see `Header`).

    Parameters
    ----------
    result : a result (anything with `image`, `voxel`, `unit`, `provenance`, `recipe`), or an array: (H, W),
        (N, H, W), lazy or not, or a tensor in deepinv's shapes (B, 1, H, W) or (1, 1, D, H, W).
    path : file or folder to make.
    voxel : edges in `unit`, one or one an axis without colour; the result's own where not given.
    unit : unit of `voxel`, 'mm' where nothing says otherwise.
    axes : letters of the array's axes, as 'YX', 'ZYX', 'YXC'.
    metadata : plain values that go into the file; the result's provenance where not given.
    recipe : text of the recipe; the result's own where not given.
    overwrite : replace what is there.

    Raises
    ------
    UsageError
        When the ending is unknown, something of that name exists, or voxel and axes do not fit.
    InputError
        When the place may not be written.
    ResourceError
        When the disk is full.
    """
    array, letters = _frames(getattr(result, "image", result), axes or getattr(result, "axes", ""))
    header = Header.of(
        array.shape,
        None,
        voxel if voxel is not None else getattr(result, "voxel", ()),
        unit=unit or getattr(result, "unit", "") or "mm",
        axes=letters,
        metadata=metadata if metadata is not None else getattr(result, "provenance", {}),
        recipe=recipe if recipe is not None else getattr(result, "recipe", ""),
    )
    with _writer(path, header, overwrite=overwrite) as volume:
        row = max(1, math.prod(array.shape[1:]) * 4)
        step = max(1, SLAB // row)
        if array.ndim > 2:  # whole chunks, so that none is compressed twice
            step = max(header.chunks[0], step // header.chunks[0] * header.chunks[0])
        for start in range(0, array.shape[0], step):
            volume[start : start + step] = _numbers(array[start : start + step])
    return Path(path)


def open_volume(
    path: str | Path,
    shape: Sequence[int],
    chunks: Sequence[int] | None = None,
    voxel: float | Sequence[float] = (),
    *,
    unit: str = "mm",
    axes: str = "",
    metadata: Mapping[str, Any] | None = None,
    recipe: str = "",
    overwrite: bool = False,
) -> VolumeWriter:
    """Begin a volume that is written slab by slab, in any order, and is there when it is closed.

    Used as ``with open_volume(path, shape) as volume: volume[k0:k1] = slab``; every slice along the first
    axis must have been written when the block ends. A block that fails leaves nothing.

    Parameters
    ----------
    path, voxel, unit, axes, metadata, recipe, overwrite : as in `write`.
    shape : shape of the whole.
    chunks : shape of a chunk of OME-Zarr and HDF5.

    Raises
    ------
    UsageError, InputError, ResourceError
        As in `write`.
    """
    header = Header.of(shape, chunks, voxel, unit=unit, axes=axes, metadata=metadata or {}, recipe=recipe)
    return _writer(path, header, overwrite=overwrite)


def _writer(path: str | Path, header: Header, *, overwrite: bool) -> VolumeWriter:
    path = Path(path).expanduser()
    suffix = next((end for end in _FORMATS if path.name.lower().endswith(end)), None)
    if suffix is None:
        raise UsageError(f"{path}: no format is known by this ending; use one of {', '.join(_FORMATS)}.")
    module, name = _FORMATS[suffix]
    writer: type[VolumeWriter] = getattr(importlib.import_module(f"imagereg.io.{module}"), name)
    return writer(path, header, overwrite=overwrite)


def _frames(array: Any, axes: str) -> tuple[Any, str]:
    """An array with at most the axes C, Z, Y, X, colour first as OME wants it."""
    if not hasattr(array, "shape"):
        array = np.asarray(array)
    if len(array.shape) > 3 and not axes:
        array = _numbers(array)
        array = array[0] if array.ndim == 5 else array
        if array.shape[0] == 1 or array.shape[1] == 1:
            array = array[0] if array.shape[0] == 1 else array[:, 0]
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        axes = "ZCYX" if array.ndim == 4 else ""
    axes = axes or "ZYX"[-len(array.shape) :] if len(array.shape) in (2, 3) else axes
    if len(axes) != len(array.shape) or set(axes) - set("ZYXC") or not {"Y", "X"} <= set(axes):
        raise UsageError(
            f"an array of shape {tuple(array.shape)} with axes {axes!r} is no image; give axes='YX', 'ZYX', "
            "'YXC' or the like."
        )
    target = [letter for letter in "CZYX" if letter in axes]
    if target != list(axes):
        array = _numbers(array).transpose([axes.index(letter) for letter in target])
    return array, "".join(target)


def _numbers(array: Any) -> Any:
    """Anything with values as NumPy float32."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(array, dtype=np.float32)
