"""Images that have nothing but noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from imagereg.physics.registry import PhysicsKind, Workplace

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class IdentityKind(PhysicsKind):
    """y = x."""

    name: ClassVar[str] = "identity"
    title: ClassVar[str] = "Noise only"
    summary: ClassVar[str] = "noise, and nothing else"
    task: ClassVar[str] = "denoise"

    def build(self, measurement: Measurement, place: Workplace) -> Measurement:
        """The measurement as it is."""
        return measurement
