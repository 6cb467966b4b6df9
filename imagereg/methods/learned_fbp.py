"""A trained network on a filtered back-projection."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Method, Needs, parameter

if TYPE_CHECKING:
    from imagereg.measurement import Measurement
    from imagereg.solvers.base import State

NOTE = (
    "The network fills in what the data do not hold from what it was trained on; compare with a method that "
    "fits the data, or let one start from it (psi = learned_fbp)."
)


class LearnedFBP(Method):
    """x = max(0, v + network(v)), v = A^T F y the filtered back-projection in units of its grey scale."""

    name: ClassVar[str] = "learned_fbp"
    title: ClassVar[str] = "Network on filtered back-projection"
    summary: ClassVar[str] = "removes streaks and noise of few views in a second, as trained scenes suggest"
    reference: ClassVar[str] = (
        "K. Jin, M. McCann, E. Froustey, M. Unser, IEEE Trans. Image Process. 26 (2017) 4509, "
        "doi:10.1109/TIP.2017.2713099; E. Morotti, D. Evangelista, A. Sebastiani, E. Loli Piccolomini, 2025, "
        "arXiv:2501.09845 (the loss)"
    )
    needs: ClassVar[Needs] = Needs(geometry=("parallel", "fan"))
    main: ClassVar[str] = ""
    copies: ClassVar[tuple[float, float]] = (3.0, 252.0)

    weights: str = parameter(
        "learned_fbp", "Name of shipped weights (`imagereg models`), or a .safetensors file with its card"
    )

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state: the reconstruction."""
        import torch

        from imagereg.fidelities.least_squares import LeastSquares
        from imagereg.networks.reconstructor import reconstruct
        from imagereg.networks.store import load_network
        from imagereg.solvers.base import State
        from imagereg.solvers.problem import Problem

        began = time.perf_counter()
        network, card = load_network(self.weights, method=self.name)
        with torch.no_grad():
            back = measurement.physics.fbp(measurement.data)
            image = reconstruct(network.to(back.device), back)
        yield State(
            image,
            1,
            1,
            time.perf_counter() - began,
            finished="1 step",
            notes=(f"Weights {card.name}, trained on {card.data}.", NOTE),
            problem=Problem(LeastSquares(measurement.data), measurement.physics),
        )
