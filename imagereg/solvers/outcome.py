"""What iterative work gives beside its image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from imagereg.choose.base import Choice
    from imagereg.uncertainty.calibration import Calibration
    from imagereg.uncertainty.held_out import HeldOutCoverage


@dataclass(frozen=True, eq=False)
class PixelUncertainty:
    """What is known of the error of each pixel; None where it is not.

    A method gives samples, or mean and std (or lower, upper and level); the rest is completed by
    `imagereg.uncertainty.spread.completed`.

    Attributes
    ----------
    mean, std : (B, C, ...) of the images that fit the data.
    samples : (S, B, C, ...) such images.
    meaning : where they come from, in a few words.
    lower, upper : (B, C, ...) ends of each pixel's interval.
    level : part of the pixels that the intervals are meant to hold.
    calibrated : whether a calibration stands behind that; None where nobody has looked.
    guarantee : what the calibration promises, in one sentence.
    factor : by which the calibration scaled the intervals.
    source, physics : plain values that tell what the intervals are of, for the provenance.
    """

    mean: torch.Tensor | None = field(default=None, repr=False)
    std: torch.Tensor | None = field(default=None, repr=False)
    samples: torch.Tensor | None = field(default=None, repr=False)
    meaning: str = ""
    lower: torch.Tensor | None = field(default=None, repr=False)
    upper: torch.Tensor | None = field(default=None, repr=False)
    level: float | None = None
    calibrated: bool | None = None
    guarantee: str = ""
    factor: float = 1.0
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)
    physics: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Learned:
    """Parameters of a method that were learned from pairs.

    Attributes
    ----------
    method : name of the method.
    parameters : its parameters, by name; arrays where they are filters.
    by : name of the algorithm, 'maid' or 'hoag'.
    """

    method: str
    parameters: Mapping[str, Any]
    by: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """What iterative work gives beside its image, each None where it gives none.

    Attributes
    ----------
    uncertainty : the error of each pixel, as far as it is known.
    calibration : what the intervals were calibrated with.
    coverage : how often intervals held data that were left out.
    choice : parameters that were chosen from the data.
    learned : parameters that were learned from pairs.
    network : the network that was trained so far.
    """

    uncertainty: PixelUncertainty | None = None
    calibration: Calibration | None = None
    coverage: HeldOutCoverage | None = None
    choice: Choice | None = None
    learned: Learned | None = None
    network: nn.Module | None = None


NOTHING = Outcome()
"""The outcome of work that gives an image and no more."""
