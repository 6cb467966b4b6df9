"""What the file says: tomography for scans, the image itself for images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from imagereg.physics.registry import PhysicsKind, Workplace

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class Auto(PhysicsKind):
    """y = A x with the geometry of the scan, or y = x for images."""

    name: ClassVar[str] = "auto"
    title: ClassVar[str] = "By the file"
    summary: ClassVar[str] = "tomography for scans, denoising for images"
    task: ClassVar[str] = "tomography"
    scans: ClassVar[bool] = True

    def build(self, measurement: Measurement, place: Workplace) -> Measurement:
        """Projectors of the scan on its grid; images stay as they are."""
        if measurement.geometry is None:
            return measurement
        from imagereg.geometry import Volume
        from imagereg.physics import tomography

        volume = measurement.volume or Volume.fit(measurement.geometry)
        physics = tomography(
            measurement.geometry, volume, device=place.device, dtype=place.dtype, backend=place.backend
        )
        return replace(measurement, physics=physics, volume=volume)
