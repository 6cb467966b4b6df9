"""What the methods that minimise data term plus penalty have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from imagereg.methods.base import Method, Needs
from imagereg.methods.support.data_term import Choice, data_term, sobolev_term
from imagereg.methods.support.scaling import Scaling, automatic, measure
from imagereg.parameters import number_of, parameter

if TYPE_CHECKING:
    import torch

    from imagereg.measurement import Measurement
    from imagereg.priors.base import Prior
    from imagereg.solvers.base import Solver
    from imagereg.solvers.problem import Problem
    from imagereg.solvers.state import State
    from imagereg.solvers.stopping import StoppingRule


class Variational(Method):
    """min over bounds of f(A x) + penalty: subclasses give the penalty and the solver.

    Parameters
    ----------
    strength, scale, absolute : see `imagereg.methods.support.scaling`.

    Class variables
    ---------------
    noise_factor : strength over what noise of the data leaves on a pixel, where strength is 'auto' (see
        `imagereg.methods.support.scaling.automatic`); measured on 40 mixed scans (`benchmarks/choice.py`).
    """

    needs: ClassVar[Needs] = Needs(linear=True)
    main: ClassVar[str] = "strength"
    copies: ClassVar[tuple[float, float]] = (20.0, 48.0)
    noise_factor: ClassVar[float] = 0.45

    strength: float | None = parameter(
        None,
        "How much smoothness counts against the data: more is smoother; auto: as the noise of the data asks",
        ge=0,
        le=1e6,
        unit="relative to the data's curvature and the image's range",
        log=True,
        auto=0.05,
    )
    nonnegative: Literal["auto", "yes", "no"] = parameter(
        "auto", "Keep the image at or above 0; auto: in tomography and for counts"
    )
    iterations: int = parameter(300, "Steps at most", ge=1, le=100_000)
    tolerance: float = parameter(
        1e-3,
        "Accuracy at which to stop (duality gap or relative change)",
        gt=0,
        le=1,
        log=True,
        level="advanced",
    )
    fidelity: Choice | Literal["sobolev"] = parameter(
        "auto", "Data term; auto: what the weights and the noise of the data ask for", level="advanced"
    )
    s: float = parameter(
        0.0,
        "Order of fidelity 'sobolev': above 0 for noise at low frequencies, below 0 at high ones",
        ge=-3,
        le=3,
        level="advanced",
    )
    s_scale: float = parameter(
        10.0,
        "Length beyond which structures weigh alike in fidelity 'sobolev', over 2 pi",
        gt=0,
        unit="pixel of the data",
        log=True,
        level="advanced",
    )
    scale: float = parameter(
        0.0,
        "Range of grey values that strength refers to; 0: found from the data",
        ge=0,
        unit="image",
        level="advanced",
    )
    absolute: bool = parameter(
        False, "Take strength as the penalty's factor itself, as in papers", level="advanced"
    )

    def penalty(self, measurement: Measurement, scaling: Scaling) -> tuple[Prior, ...]:
        """The priors, strengths included."""
        raise TypeError(f"{type(self).__name__} has no penalty.")

    def algorithm(self, problem: Problem) -> Solver:
        """What solves the problem."""
        raise TypeError(f"{type(self).__name__} has no solver.")

    def rule(self, solver: Solver) -> StoppingRule:
        """When to stop: by the duality gap where the solver has one, else by the change of the image."""
        from imagereg.solvers.stopping import DualityGap, RelativeChange

        if hasattr(solver, "gap"):
            return DualityGap(self.tolerance)
        # Solvers without a gap take small steps towards the end: ask for a tenth of the accuracy.
        return RelativeChange(0.1 * self.tolerance)

    def iterate(self, measurement: Measurement) -> Iterator[State]:
        """Find the scaling, set up the problem and solve it, one state a step."""
        yield from self.minimise(measurement, lambda scaling: self.penalty(measurement, scaling))

    def minimise(
        self,
        measurement: Measurement,
        penalty: Callable[[Scaling], tuple[Prior, ...]],
        *,
        start: torch.Tensor | None = None,
        notes: tuple[str, ...] = (),
    ) -> Iterator[State]:
        """Solve for the priors that `penalty` makes of the scaling, one state a step.

        Parameters
        ----------
        start : (B, C, ...) first image; the quick reconstruction where not given.
        notes : sentences that every state carries.
        """
        from imagereg.solvers.base import iterate
        from imagereg.solvers.problem import Problem

        if self.fidelity == "sobolev":
            fidelity, note = sobolev_term(measurement, self.s, self.s_scale), ""
        else:
            fidelity, note = data_term(measurement, self.fidelity)
        bounds = (0.0 if self.bounded(measurement) else None, None)
        bare = Problem(fidelity, measurement.physics, (), bounds)
        scaling = measure(bare, scale=self.scale, absolute=self.absolute)
        said: tuple[str, ...] = ()
        if self.strength is None:
            scaling, said = automatic(
                scaling, measurement, fidelity, self.noise_factor, self.typical_strength
            )
        problem = Problem(fidelity, measurement.physics, penalty(scaling), bounds)
        solver = self.algorithm(problem)
        yield from iterate(
            solver,
            problem,
            total=self.iterations,
            start=scaling.image if start is None else start,
            stop=self.rule(solver),
            notes=(*notes, *said, note) if note else (*notes, *said),
        )

    @property
    def typical_strength(self) -> float:
        """The strength where neither a number is given nor the noise can be told."""
        return float(number_of(self.model_copy(update={"strength": None}), "strength"))

    def bounded(self, measurement: Measurement) -> bool:
        """Whether the image is kept at or above 0."""
        if self.nonnegative != "auto":
            return self.nonnegative == "yes"
        return measurement.geometry is not None or getattr(measurement.noise, "name", "") == "poisson"
