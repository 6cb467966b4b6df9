"""Trained networks on filtered back-projections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from imagereg.methods.base import Method, Needs
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.networks.store import Card
    from imagereg.solvers.state import State

NOTE = (
    "The network fills in what the data do not hold from what it was trained on; compare with a method that "
    "fits the data, or let one start from it (psi = learned_fbp)."
)


class LearnedFBP(Method):
    """x_k+1 = max(0, v + network(v, x_k)), v = x_k + A^T F (y - A x_k), in units of the first v's grey scale.

    The first pass starts from nothing and is the network on the filtered back-projection, A^T F y. The later
    ones, by a network of their own, put back what the first left out of the data, until these are explained
    to their noise, where that is known. A pass that leads away from the data does not count, and is the last.
    """

    name: ClassVar[str] = "learned_fbp"
    title: ClassVar[str] = "Learned reconstruction"
    summary: ClassVar[str] = "fast learned reconstruction from few views"
    reference: ClassVar[str] = (
        "K. Jin, M. McCann, E. Froustey, M. Unser, IEEE Trans. Image Process. 26 (2017) 4509, "
        "doi:10.1109/TIP.2017.2713099; A. Hauptmann et al., IEEE Trans. Med. Imaging 37 (2018) 1382, "
        "doi:10.1109/TMI.2018.2820382 (passes trained one after another); E. Morotti, D. Evangelista, "
        "A. Sebastiani, E. Loli Piccolomini, 2025, arXiv:2501.09845 (the loss)"
    )
    needs: ClassVar[Needs] = Needs(geometry=("parallel", "fan"))
    main: ClassVar[str] = ""
    copies: ClassVar[tuple[float, float]] = (3.0, 330.0)
    passes: ClassVar[float] = 50.0  # the networks', in the time of projections

    weights: str = parameter(
        "learned_fbp", "Name of shipped weights (`imagereg models`), or a .safetensors file with its card"
    )

    iterations: int = parameter(
        3, "Passes; 1 is the network on the filtered back-projection alone", ge=1, le=20
    )

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state a pass."""
        import torch

        from imagereg.fidelities.least_squares import LeastSquares
        from imagereg.networks.reconstructor import reconstruct
        from imagereg.networks.store import load_network
        from imagereg.solvers.problem import Problem
        from imagereg.solvers.state import State

        began = time.perf_counter()
        network, card = load_network(self.weights, method=self.name)
        network = network.to(measurement.data.device)
        problem = Problem(LeastSquares(measurement.data), measurement.physics)
        notes = (f"Weights {card.name}, trained on {card.data}.", NOTE, *_unlike(measurement, card))
        with torch.no_grad():
            images = reconstruct(
                network, measurement.physics, measurement.data, self.iterations, noise=_noise(measurement)
            )
            for number, (image, finished) in enumerate(images, 1):
                yield State(
                    image,
                    number,
                    self.iterations,
                    time.perf_counter() - began,
                    finished=finished,
                    notes=notes,
                    problem=problem,
                )


def _noise(measurement: Measurement) -> torch.Tensor | None:
    """Expected norm of the noise of each item and channel, where there is a model of it."""
    if measurement.noise is None:
        return None
    from imagereg.errors import UsageError
    from imagereg.noise.level import noise_level

    try:
        return noise_level(measurement).norms(measurement.data, axes=2)
    except UsageError:  # a model whose variance nobody knows
        return None


def _unlike(measurement: Measurement, card: Card) -> tuple[str, ...]:
    """What must be said of a scan with fewer or more views for its size than those of the training."""
    learned = [card.metrics.get(name) for name in ("size", "least_views", "most_views")]
    if None in learned:
        return ()
    size, least, most = (float(value) for value in learned)  # type: ignore[arg-type]
    physics = measurement.physics
    pixels, views = max(physics.volume.shape[-2:]), physics.geometry.views
    low, high = round(least * pixels / size), round(most * pixels / size)
    if low <= views <= high:
        return ()
    return (
        f"The scan has {views} views for {pixels} pixels; the networks learned from what would be {low} to "
        f"{high}: streaks may stay, or detail go.",
    )
