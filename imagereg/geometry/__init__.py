"""Scan geometries and reconstruction grids: frozen values in mm and radians."""

from imagereg.geometry.base import Geometry, ViewVectors
from imagereg.geometry.cone import ConeBeam
from imagereg.geometry.fan import FanBeam
from imagereg.geometry.parallel import ParallelBeam
from imagereg.geometry.volume import Volume

__all__ = ["ConeBeam", "FanBeam", "Geometry", "ParallelBeam", "ViewVectors", "Volume"]
