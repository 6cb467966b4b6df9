"""Field of Experts: filters learned from pairs of images as the penalty."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imagereg.errors import InputError, UsageError
from imagereg.methods.support.variational import Variational
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.methods.support.scaling import Scaling
    from imagereg.priors.base import Prior
    from imagereg.solvers.base import Solver
    from imagereg.solvers.problem import Problem

SHIPPED = "field_of_experts.safetensors"


class FieldOfExperts(Variational):
    """min f(A x) + lambda sum_k w_k sum_i sqrt((c_k * x)_i^2 + v_k^2), lambda = strength c.

    Filters c, weights w and smoothings v are learned by `imagereg learn`; w and v scale with the image's
    range (see `imagereg.methods.support.scaling`), which the file of the filters knows of its own images.
    """

    name: ClassVar[str] = "field_of_experts"
    title: ClassVar[str] = "Field of Experts"
    summary: ClassVar[str] = (
        "variational reconstruction with filters learned from example pairs, for natural textures"
    )
    reference: ClassVar[str] = (
        "S. Roth, M. Black, Int. J. Comput. Vis. 82 (2009) 205, doi:10.1007/s11263-008-0197-6; Y. Chen, "
        "R. Ranftl, T. Pock, IEEE Trans. Image Process. 23 (2014) 1060, doi:10.1109/TIP.2014.2299065"
    )
    copies: ClassVar[tuple[float, float]] = (12.0, 67.0)

    strength: float = parameter(
        1.0,
        "How much the learned filters count against the data; 1 is what they were learned at",
        gt=0,
        le=1e6,
        unit="relative to the data's curvature",
        log=True,
    )
    filters: str = parameter(
        "", "File of learned filters (.safetensors, by `imagereg learn`); the shipped ones where not given"
    )

    def penalty(self, measurement: Measurement, scaling: Scaling) -> tuple[Prior, ...]:
        """The learned penalty in the units of this image."""
        from imagereg.priors.field_of_experts import FieldOfExpertsPrior

        arrays = load_filters(self.filters)
        return (
            FieldOfExpertsPrior(
                arrays["weights"],
                arrays["smoothings"],
                arrays["filters"],
                factor=scaling.quadratic(self.strength),
                ratio=scaling.span / float(arrays["span"]),
            ),
        )

    def algorithm(self, problem: Problem) -> Solver:
        """Accelerated gradients: everything is smooth."""
        from imagereg.solvers.fista import FISTA

        return FISTA()


def load_filters(name: str) -> dict[str, torch.Tensor]:
    """Filters (K, 1, m, m), weights (K,), smoothings (K,) and the span of the images they were learned on.

    Raises
    ------
    InputError
        When the file cannot be read.
    UsageError
        When it holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from imagereg.presets import shipped_file

    path = Path(name) if name else shipped_file(SHIPPED)
    try:
        arrays: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the filters {path}: {error}.") from None
    missing = {"filters", "weights", "smoothings", "span"} - set(arrays)
    if missing:
        raise UsageError(f"{path} holds no learned filters: {' and '.join(sorted(missing))} missing.")
    return arrays
