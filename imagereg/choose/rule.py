"""What a selection rule offers: a score for one setting of a method, and what it knows of the noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from imagereg.choose.runs import Runs
from imagereg.solvers.state import State

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.base import Method


@dataclass(frozen=True, eq=False)
class Score:
    """What a rule found for one setting.

    Attributes
    ----------
    value : to be made zero, or smallest; for a corner, the logarithm of the residual.
    image : (B, C, ...) the image of the whole measurement, or of a part of it.
    figures : further numbers, for the curve.
    across : the logarithm of the penalty, for a corner only.
    """

    value: float
    image: torch.Tensor
    figures: Mapping[str, float] = field(default_factory=dict)
    across: float = 0.0


class ChoiceRule(ABC):
    """A way to tell a good setting of a method from a bad one without knowing the truth.

    A rule is made for one measurement that is ready (tensors, physics built) with its own settings by
    keyword, and then asked for the score of one setting after another.

    Class variables
    ---------------
    name : what users type.
    title : what it does, in a clause.
    goal : 'root' (score zero), 'minimum' or 'corner' (of log residual against log penalty).
    label : what the score is, for an axis.
    reference : source.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    goal: ClassVar[Literal["root", "minimum", "corner"]] = "minimum"
    label: ClassVar[str] = "score"
    reference: ClassVar[str]

    @abstractmethod
    def __init__(self, measurement: Measurement, *, seed: int = 0) -> None:
        """Prepare for a measurement."""

    @abstractmethod
    def score(self, method: Method, runs: Runs) -> Generator[State, None, Score]:
        """Run the method as often as it takes, state by state, and return its score."""

    def evidence(self) -> dict[str, Any]:
        """What the rule assumed or measured, as plain values."""
        return {}
