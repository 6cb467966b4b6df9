"""Projectors: line integrals and their transposes, on the CPU and the GPU, and filtered back-projection."""

from imagereg.projectors.backends import BACKENDS, projector
from imagereg.projectors.base import Projector, back_project, project

__all__ = ["BACKENDS", "Projector", "back_project", "project", "projector"]
