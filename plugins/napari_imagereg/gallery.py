"""The samples as the dock offers them: each opens with the task, the method and the preset that suit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_imagereg.session import Session


@dataclass(frozen=True)
class Showpiece:
    """A sample and what to do with it.

    Attributes
    ----------
    make : the function in `samples` that makes it.
    tip : what is to be seen in it.
    preset : a shipped preset of the method, or none.
    """

    title: str
    make: str
    tip: str
    method: str
    preset: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    task: str = "tomography"
    physics: Mapping[str, Any] = field(default_factory=dict)


GALLERY = (
    Showpiece(
        "Raw counts of a foam",
        "raw_scan",
        "Flats, darks, rings, dead pixels, and the axis off centre: the whole way from counts to an image.",
        "fbp",
        "fbp_smooth",
    ),
    Showpiece("Shepp-Logan sinogram", "shepp_logan", "Many views, little noise.", "fbp"),
    Showpiece(
        "Sparse-view fan beam",
        "sparse_fan",
        "60 views: what total variation makes of few.",
        "tv",
        "tv_few_views",
    ),
    Showpiece(
        "Limited angle",
        "limited_angle",
        "A third of the angles is missing: edges along them cannot be seen.",
        "tv",
        "tv_few_views",
    ),
    Showpiece("Cone beam, 3-D Shepp-Logan", "cone", "A volume of its own kind.", "fdk"),
    Showpiece(
        "Noisy picture",
        "noisy",
        "Denoising: sharp edges out of noise.",
        "tv",
        "tv_quick_look",
        {"strength": 0.1},
        "denoise",
    ),
    Showpiece(
        "Blurred picture",
        "blurred",
        "Deblurring, the blur being known.",
        "tv",
        None,
        {"strength": 0.002},
        "deblur",
        {"blur": 1.5},
    ),
)
"""In the order of the menu; the first one is what is tried first."""


def piece(make: str) -> Showpiece:
    """The showpiece of a function's name."""
    return next(shown for shown in GALLERY if shown.make == make)


def arrange(session: Session, shown: Showpiece) -> None:
    """Set a session, which holds the sample, to what suits it."""
    session.task, session.physics = shown.task, dict(shown.physics)
    session.method = shown.method
    session.parameters[shown.method] = dict(shown.parameters)
    session.presets.pop(shown.method, None)
    if shown.preset is not None:
        session.presets[shown.method] = shown.preset
    session.physics_changed.emit()
    session.method_changed.emit()
