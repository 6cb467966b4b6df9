"""Pictures: PNG, JPEG and BMP, for denoising and deblurring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from imagereg.io.base import Reader, starts_with
from imagereg.io.file_contents import IMAGE_HINTS, Found, image
from imagereg.measurement import Measurement, Source


class Picture(Reader):
    """One grey or colour picture, with its values as stored (0 to 255, or 65535 where it has 16 bits)."""

    name: ClassVar[str] = "picture"
    title: ClassVar[str] = "PNG, JPEG, BMP"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".bmp")
    priority: ClassVar[int] = 50
    hints: ClassVar[frozenset[str]] = IMAGE_HINTS

    def sniff(self, path: Path) -> bool:
        """True for the marks of PNG, JPEG and BMP."""
        return path.is_file() and starts_with(path, b"\x89PNG\r\n", b"\xff\xd8\xff", b"BM")

    def read(self, path: Path, hints: Mapping[str, Any]) -> Measurement:
        """The picture; a transparency channel is left out, a palette resolved."""
        from PIL import Image

        notes = []
        with Image.open(path) as file:
            picture: Any = file
            if picture.mode in ("P", "CMYK", "YCbCr", "HSV", "LAB"):
                picture = picture.convert("RGB")
            elif picture.mode in ("LA", "RGBA", "PA"):
                picture = picture.convert("L" if picture.mode == "LA" else "RGB")
                notes.append("the transparency channel was left out.")
            values = np.asarray(picture)
        if picture.mode == "1":
            values = values.astype(np.uint8)
        elif picture.mode == "I":
            values = values.astype(np.uint16 if values.min() >= 0 and values.max() < 65536 else np.int32)
        axes = "YXC" if values.ndim == 3 else "YX"
        return image(Found(Source(path, self.name), values, tuple(axes), notes=notes), hints)
