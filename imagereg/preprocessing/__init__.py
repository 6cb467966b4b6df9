"""Preprocessing: from what a detector counted to line integrals that a reconstruction can take."""

from imagereg.preprocessing.base import Outcome, Step
from imagereg.preprocessing.centre import CentreEstimate, centre_sweep, find_centre
from imagereg.preprocessing.health import Finding, default_steps, health, with_safe_cures
from imagereg.preprocessing.pipeline import (
    apply_rows,
    apply_steps,
    looked_at,
    prepare_rows,
    preprocess,
    resolve_steps,
    rows_after,
)
from imagereg.preprocessing.registry import make_step, step_class, step_name, steps

__all__ = [
    "CentreEstimate",
    "Finding",
    "Outcome",
    "Step",
    "apply_rows",
    "apply_steps",
    "centre_sweep",
    "default_steps",
    "find_centre",
    "health",
    "looked_at",
    "make_step",
    "prepare_rows",
    "preprocess",
    "resolve_steps",
    "rows_after",
    "step_class",
    "step_name",
    "steps",
    "with_safe_cures",
]
