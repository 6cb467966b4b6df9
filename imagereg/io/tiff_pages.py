"""Pages of a TIFF file: whether all that were written can still be reached.

Each page of a TIFF holds the place of the next, so one bad number in the chain makes a shorter file of it
that reads without complaint. The counts that programs write beside, and the size of the file, tell.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from imagereg.errors import InputError
from imagereg.io.budget import size_text

# What these keep outside their pages (indices, previews, spare room) is their own affair.
_VENDORS = (
    "lsm", "micromanager", "mmstack", "ndpi", "ndtiff", "scn", "stk", "svs", "fluoview", "nih", "mdgel",
    "mediacy", "tvips", "andor", "fei", "sem", "qpi", "philips", "ventana", "bif", "scanimage", "sis", "avs",
    "pilatus", "vista", "gdal", "geotiff", "eer",
)  # fmt: skip
_SPARE = 1 << 12


def lost_pages(path: Path, file: Any) -> None:
    """Refuse a file that says it has more pages than its chain reaches, or that has room for them.

    Raises
    ------
    InputError
        When ImageJ's or tifffile's own count is larger than that of the pages, or as many bytes as a page
        takes belong to no page.
    """
    pages = len(file.pages)
    if not pages or not file.series:
        return
    said = _said(file)
    held = max(pages, math.prod(file.series[0].shape) // max(math.prod(file.pages[0].shape), 1))
    if said > held:
        raise InputError(
            f"{path}: {held} of the {said} frames that it says it has can be reached; copy it again."
        )
    if any(getattr(file, f"is_{vendor}", False) for vendor in _VENDORS):
        return
    smallest = min((sum(page.databytecounts) for page in file.series[0].pages if page is not None), default=0)
    left = path.stat().st_size - _bytes(file, whole=False)
    if left >= smallest + _SPARE:
        left = path.stat().st_size - _bytes(file, whole=True)
    if smallest and left >= smallest + _SPARE:
        raise InputError(
            f"{path}: {pages} frames can be reached and {size_text(left)} of the file belong to none, "
            f"room for about {left // smallest} more; it is damaged, copy it again."
        )


def _said(file: Any) -> int:
    """The number of pages that the metadata of ImageJ or tifffile give, 0 where they give none."""
    if file.is_imagej:
        return int((file.imagej_metadata or {}).get("images", 0))
    shaped = file.shaped_metadata
    if shaped:
        shape = shaped[0].get("shape", ())
        return math.prod(shape) // max(math.prod(file.pages[0].shape), 1) if len(shaped) == 1 else 0
    return 0


def _bytes(file: Any, *, whole: bool) -> int:
    """Bytes that pages, sub-pages and tags take; the tags of every page are read only if `whole`."""
    pages, entry = list(file.pages), 20 if file.is_bigtiff else 12
    packed = sum(sum(page.databytecounts) for page in pages)
    first = file.series[0]
    # ImageJ and tifffile write one page's tags for many frames that lie one after another.
    run = first.nbytes if first.dataoffset is not None else 0
    total = max(packed, run)
    tags = 0
    for page in pages if whole else pages[:1]:
        full = page.aspage() if not hasattr(page, "tags") else page
        # Values begin at even places, directories have a count before and a place behind.
        tags += sum(int(tag.valuebytecount) + entry + 1 for tag in full.tags) + 16
        total += sum(sum(sub.databytecounts) + entry * 40 for sub in full.pages or ())
    return total + (tags if whole else tags * len(pages))
