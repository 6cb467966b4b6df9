"""Acoustic full waveform inversion with an H^s misfit along time."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.errors import UsageError
from imagereg.methods.base import Method, Needs
from imagereg.parameters import parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.solvers.state import State


class WaveformInversion(Method):
    """min over v in [slowest, fastest] of 1/2 ||A(v) - y||² in H^s along time, by projected L-BFGS.

    The adjoint source is P_s² (A(v) - y), trace by trace, with W(f) ∝ (1 + (f / corner)²)^s.
    """

    name: ClassVar[str] = "waveform_inversion"
    title: ClassVar[str] = "Full waveform inversion (H^s)"
    summary: ClassVar[str] = (
        "seismic velocities from whole traces, with the misfit in a Sobolev norm along time"
    )
    reference: ClassVar[str] = (
        "Tarantola 1984, doi 10.1190/1.1441754; Zhu, Hu, Lou, Yang 2021, arXiv 2109.06255 (H^s misfit)"
    )
    needs: ClassVar[Needs] = Needs(linear=False)
    main: ClassVar[str] = "s"
    copies: ClassVar[tuple[float, float]] = (4.0, 30.0)
    passes: ClassVar[float] = 3.0

    s: float = parameter(
        0.0, "Order of the misfit: below 0 weighs low frequencies, above 0 high ones", ge=-3, le=3
    )
    corner: float = parameter(
        5.0, "Corner frequency of the weights", gt=0, unit="Hz", level="advanced", log=True
    )
    iterations: int = parameter(60, "Iterations at most", ge=1)
    start: Literal["auto", "reference", "depth"] = parameter(
        "auto",
        "Velocities to start from: the physics' reference, or a linear rise with depth (auto: what there is)",
    )
    surface: float = parameter(1500.0, "Velocity at the surface, for a start by depth", gt=0, unit="m/s")
    bottom: float = parameter(4000.0, "Velocity at the bottom, for a start by depth", gt=0, unit="m/s")
    slowest: float = parameter(1000.0, "Smallest velocity allowed", gt=0, unit="m/s", level="advanced")
    known_rows: int = parameter(
        0, "Rows from the top that are known and stay as they start (water, say)", ge=0, level="advanced"
    )
    first_change: float = parameter(
        50.0, "Largest change of a cell in the first step", gt=0, unit="m/s", level="advanced"
    )
    pairs: int = parameter(8, "Pairs that L-BFGS keeps; 0 is steepest descent", ge=0, le=50, level="advanced")

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """One state an L-BFGS iteration; the image holds velocities in m/s."""
        from imagereg.fidelities.sobolev import Sobolev
        from imagereg.physics.wave import AcousticWave
        from imagereg.solvers.base import iterate
        from imagereg.solvers.lbfgs import LBFGS
        from imagereg.solvers.problem import Problem

        physics = measurement.physics
        if not isinstance(physics, AcousticWave):
            raise UsageError(
                f"{self.name} is for seismic surveys: give the measurement an "
                "imagereg.physics.wave.AcousticWave as its physics."
            )
        scale = 1 / (2 * pi * self.corner * physics.interval)
        fidelity = Sobolev(measurement.data, self.s, scale=scale, axes=(-1,))
        # Just below `fastest`: the simulation refuses what rounding lifts above it.
        problem = Problem(fidelity, physics, (), (self.slowest, physics.fastest * (1 - 1e-6)))
        first = self._start(measurement)
        solver = LBFGS(first=self.first_change, pairs=self.pairs, mask=self._mask(first))
        return iterate(solver, problem, total=self.iterations, start=first)

    def _start(self, measurement: Measurement) -> torch.Tensor:
        import torch

        reference = measurement.physics.reference
        if reference is not None and self.start != "depth":
            return reference.to(measurement.data).expand(len(measurement.data), -1, -1, -1).clone()
        if self.start == "reference":
            raise UsageError(
                f"{self.name}.start = 'reference': the physics has no reference velocities; give "
                "AcousticWave(reference=...) or start=depth."
            )
        shape = measurement.physics.shape
        depth = torch.linspace(self.surface, self.bottom, shape[0]).to(measurement.data)
        return depth[:, None].expand(len(measurement.data), 1, *shape).clone()

    def _mask(self, image: torch.Tensor) -> torch.Tensor | None:
        if not self.known_rows:
            return None
        import torch

        mask = torch.ones_like(image[:1])
        mask[..., : self.known_rows, :] = 0
        return mask
