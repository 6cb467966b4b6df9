"""Writers for napari: an image layer with its scale and recipe as OME-Zarr, OME-TIFF or HDF5."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagereg.engine import Result
from napari_imagereg.layers import KEY


def write_layer(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one image layer; the format follows the name's ending. Nothing is overwritten."""
    from imagereg.io import write

    held = attributes.get("metadata", {}).get(KEY, {})
    held = held if isinstance(held, dict) else {}
    units = [str(unit) for unit in attributes.get("units") or ()]
    unit = {"millimeter": "mm", "mm": "mm", "micrometer": "um", "um": "um"}.get(
        units[-1] if units else "", ""
    )
    array = data[0] if isinstance(data, list) or attributes.get("multiscale") else data
    provenance = {key: value for key, value in held.items() if key not in ("measurement", "truth", "recipe")}
    result = Result(
        np.asarray(array),
        tuple(float(s) for s in attributes.get("scale", ())) if unit else (),
        unit,
        (),
        provenance,
        None,
        str(held.get("recipe", "")),
    )
    write(result, path)
    return [str(path)]
