"""Phantoms: scenes of known truth, with images on any grid and exact projections for any scan."""

from imagereg.phantoms.catalogue import (
    PHANTOMS,
    Phantom,
    ellipses_and_lines,
    foam,
    foam_3d,
    phantom,
    shepp_logan,
    shepp_logan_3d,
)
from imagereg.phantoms.ellipsoids import Ellipsoids
from imagereg.phantoms.simulate import simulate

__all__ = [
    "PHANTOMS",
    "Ellipsoids",
    "Phantom",
    "ellipses_and_lines",
    "foam",
    "foam_3d",
    "phantom",
    "shepp_logan",
    "shepp_logan_3d",
    "simulate",
]
