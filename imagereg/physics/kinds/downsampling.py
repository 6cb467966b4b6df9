"""Images whose pixels are coarser than what is wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from imagereg.parameters import parameter
from imagereg.physics.registry import PhysicsKind, Workplace

if TYPE_CHECKING:
    from imagereg.measurement import Measurement


class DownsamplingKind(PhysicsKind):
    """y = means of x over blocks of factor x factor pixels."""

    name: ClassVar[str] = "downsampling"
    title: ClassVar[str] = "Coarse pixels"
    summary: ClassVar[str] = "pixels coarser than those of the image that is wanted"
    task: ClassVar[str] = "super-resolution"

    factor: int = parameter(2, "downsampling factor", ge=2)

    @property
    def finer(self) -> int:
        """The factor."""
        return self.factor

    def build(self, measurement: Measurement, place: Workplace) -> Measurement:
        """Means over blocks."""
        from imagereg.physics import downsampling

        shape = tuple(n * self.factor for n in measurement.data.shape[-2:])
        physics = downsampling(shape, self.factor, device=place.device, dtype=place.dtype)
        return replace(measurement, physics=physics)
