"""Sparsity in a wavelet basis."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.support.variational import Variational
from imagereg.parameters import parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.methods.support.scaling import Scaling
    from imagereg.priors.base import Prior
    from imagereg.solvers.base import Solver
    from imagereg.solvers.problem import Problem


class WaveletMethod(Variational):
    """min f(A x) + lambda ||W x||_1 over the details of an orthonormal W, lambda = strength c s."""

    name: ClassVar[str] = "wavelet"
    title: ClassVar[str] = "Wavelet sparsity"
    summary: ClassVar[str] = (
        "sparsity in a wavelet basis, for texture and smooth shading that total variation would flatten"
    )
    reference: ClassVar[str] = (
        "I. Daubechies, M. Defrise, C. De Mol, Commun. Pure Appl. Math. 57 (2004) 1413, doi:10.1002/cpa.20042"
    )

    wavelet: str = parameter("sym8", "Name of an orthogonal wavelet: haar, db4, sym8, coif2, ...")
    levels: int = parameter(4, "Number of scales", ge=1, le=12, level="advanced")

    def penalty(self, measurement: Measurement, scaling: Scaling) -> tuple[Prior, ...]:
        """lambda times the l1 norm of the details."""
        from imagereg.priors.wavelet import Wavelet

        return (
            Wavelet(
                scaling.linear(self.strength),
                wavelet=self.wavelet,
                levels=self.levels,
                dimensions=scaling.image.ndim - 2,
            ),
        )

    def algorithm(self, problem: Problem) -> Solver:
        """FISTA, or PDHG where there are bounds too or the data term has no Lipschitz gradient."""
        from math import isfinite

        from imagereg.solvers.fista import FISTA
        from imagereg.solvers.pdhg import PDHG

        plain = problem.bounds == (None, None) and isfinite(problem.fidelity.lipschitz)
        return FISTA() if plain else PDHG()
