"""Images of which some pixels are not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imagereg.errors import UsageError
from imagereg.parameters import parameter
from imagereg.physics.registry import PhysicsKind, Workplace

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class InpaintingKind(PhysicsKind):
    """y = m x, m 1 where a pixel is known and 0 where it is not."""

    name: ClassVar[str] = "inpainting"
    title: ClassVar[str] = "Missing pixels"
    summary: ClassVar[str] = "pixels that are missing"
    task: ClassVar[str] = "inpaint"

    mask: Path | None = parameter(None, "file with the mask of known pixels, 0 where unknown")

    def build(self, measurement: Measurement, place: Workplace) -> Measurement:
        """The mask in the file."""
        from imagereg.physics import inpainting

        if self.mask is None:
            raise UsageError("physics.kind inpainting: give physics.mask, a file that is 0 where unknown.")
        mask = place.picture(self.mask) > 0
        return replace(measurement, physics=inpainting(mask, device=place.device))
