"""Projectors: line integrals and their transposes, on the CPU and the GPU, and filtered back-projection."""

from imagereg.projectors.base import BACKENDS, Projector, back_project, project, projector

__all__ = ["BACKENDS", "Projector", "back_project", "project", "projector"]
