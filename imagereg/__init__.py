"""Inverse-problems imaging workbench: image regularisation and tomography (not image registration).

Names are resolved when first used, so that `import imagereg` is quick and torch loads with the first work.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "ConeBeam": "imagereg.geometry",
    "FanBeam": "imagereg.geometry",
    "GammaNoise": "imagereg.physics.noise",
    "GaussianNoise": "imagereg.physics.noise",
    "ImageregError": "imagereg.errors",
    "Measurement": "imagereg.measurement",
    "Method": "imagereg.methods.base",
    "ParallelBeam": "imagereg.geometry",
    "PoissonNoise": "imagereg.physics.noise",
    "Recipe": "imagereg.recipe",
    "RelativeNoise": "imagereg.physics.noise",
    "Result": "imagereg.engine",
    "State": "imagereg.solvers.state",
    "TransmissionNoise": "imagereg.physics.noise",
    "Volume": "imagereg.geometry",
    "blur": "imagereg.physics",
    "downsampling": "imagereg.physics",
    "inpainting": "imagereg.physics",
    "iterate": "imagereg.engine",
    "method": "imagereg.methods.registry",
    "preprocess": "imagereg.preprocessing",
    "read": "imagereg.io",
    "reconstruct": "imagereg.engine",
    "run": "imagereg.running.local",
    "show": "imagereg.showing",
    "tomography": "imagereg.physics",
    "write": "imagereg.io",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'imagereg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
