"""How an image gives its data: operators on deepinv's interface, noise models, certificates.

Names are resolved when first used, so that noise models load without torch.
"""

from __future__ import annotations

import importlib
from typing import Any

# No module may bear the name of a function: importing it would put it in the function's place.
_HOME = {
    "Certificate": "certificate",
    "certify": "certificate",
    "operator_norm": "certificate",
    "Tomography": "projection",
    "tomography": "projection",
    "Blur": "blurring",
    "blur": "blurring",
    "disc_kernel": "kernels",
    "gaussian_kernel": "kernels",
    "motion_kernel": "kernels",
    "Inpainting": "mask",
    "inpainting": "mask",
    "Identity": "mask",
    "identity": "mask",
    "Downsampling": "downsample",
    "downsampling": "downsample",
    "PhaseRetrieval": "nonlinear",
    "Saturation": "nonlinear",
    "GammaNoise": "noise",
    "GaussianNoise": "noise",
    "PoissonNoise": "noise",
    "RelativeNoise": "noise",
    "TransmissionNoise": "noise",
    "noise_from_dict": "noise",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
