"""Total variation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.support.variational import Variational
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.methods.support.scaling import Scaling
    from imagereg.priors.base import Prior
    from imagereg.solvers.base import Solver
    from imagereg.solvers.problem import Problem


class TotalVariation(Variational):
    """min f(A x) + lambda TV(x), lambda = strength c s (see `imagereg.methods.support.scaling`)."""

    name: ClassVar[str] = "tv"
    title: ClassVar[str] = "Total variation"
    summary: ClassVar[str] = "sharp edges and flat regions from few or noisy data"
    reference: ClassVar[str] = (
        "L. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992) 259, doi:10.1016/0167-2789(92)90242-F; "
        "E. Sidky, J. Jørgensen, X. Pan, Phys. Med. Biol. 57 (2012) 3065, doi:10.1088/0031-9155/57/10/3065"
    )

    isotropic: bool = parameter(True, "Measure edges by their true length instead of along rows and columns")
    solver: Literal["pdhg", "fista", "admm"] = parameter(
        "pdhg", "Algorithm; pdhg is the only one that states how far it is from the minimum", level="advanced"
    )

    @property
    def divisible(self) -> bool:
        """With pdhg: differences reach one row further, and the rest are sums."""
        return self.solver == "pdhg" and self.fidelity != "sobolev"

    def penalty(
        self, measurement: Measurement, scaling: Scaling, weight: torch.Tensor | None = None
    ) -> tuple[Prior, ...]:
        """lambda TV, of slices or of volumes, with differences divided by the edges of voxels.

        `weight` is one factor a pixel, (B, C, ...); 1 everywhere where not given.
        """
        from imagereg.priors.tv import TV

        dimensions = scaling.image.ndim - 2
        return (
            TV(
                scaling.linear(self.strength),
                isotropic=self.isotropic,
                dimensions=dimensions,
                weight=weight,
                spacing=spacing(measurement, dimensions),
            ),
        )

    def algorithm(self, problem: Problem) -> Solver:
        """The chosen solver."""
        from imagereg.solvers.admm import ADMM
        from imagereg.solvers.fista import FISTA
        from imagereg.solvers.pdhg import PDHG

        solvers: dict[str, Solver] = {"pdhg": PDHG(), "fista": FISTA(), "admm": ADMM()}
        return solvers[self.solver]


def spacing(measurement: Measurement, dimensions: int) -> tuple[float, ...] | None:
    """Edges of a voxel along the last axes, over that of the last; None where they are equal or not known."""
    volume = measurement.volume
    edges = volume.edges if volume is not None else measurement.pixel
    if len(edges) < dimensions:
        return None
    last = edges[-dimensions:]
    return None if len(set(last)) == 1 else tuple(edge / last[-1] for edge in last)
