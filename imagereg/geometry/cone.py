"""Cone beam: a point source, a flat panel and a circular orbit (laboratory CT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from imagereg.geometry.fan import PointSource


@dataclass(frozen=True, eq=False, repr=False)
class ConeBeam(PointSource):
    """A cone on a flat detector, the source on a circle (fields: see `Geometry` and below).

    p(a, r, s) = integral of f along the line from the source to the detector point in row r and column
    s. `source_origin` and `source_detector` are distances in mm.
    """

    kind: ClassVar[str] = "cone"

    @property
    def ndim(self) -> int:
        """3: rows belong together."""
        return 3
