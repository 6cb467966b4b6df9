"""The primal-dual hybrid gradient method of Chambolle and Pock, with its duality gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from imagereg.errors import UsageError
from imagereg.fidelities.base import Fidelity, align
from imagereg.physics.distributed import largest, smallest, summed
from imagereg.priors.base import Functional
from imagereg.solvers.linear import name_of, require_linear
from imagereg.solvers.problem import Problem, Refusal, inner
from imagereg.solvers.ramp import Ramp
from imagereg.solvers.scale import scale_of
from imagereg.solvers.spectrum import largest_eigenvalue
from imagereg.solvers.state import Memory


class Iterate(NamedTuple):
    """What one step hands to the next.

    Attributes
    ----------
    x, Ax : the image, and A x.
    u : dual variable of the data term, in the shape of the data.
    v : dual variables of the priors.
    gradient : A^T u + sum_i K_i^T v_i.
    """

    x: torch.Tensor
    Ax: torch.Tensor
    u: torch.Tensor
    v: tuple[torch.Tensor, ...]
    gradient: torch.Tensor

    def towards(self, other: Iterate, rate: float) -> Iterate:
        """self + rate (other - self)."""
        v = tuple(torch.lerp(a, b, rate) for a, b in zip(self.v, other.v, strict=True))
        x, Ax, u, gradient = (
            torch.lerp(a, b, rate)
            for a, b in (
                (self.x, other.x),
                (self.Ax, other.Ax),
                (self.u, other.u),
                (self.gradient, other.gradient),
            )
        )
        return Iterate(x, Ax, u, v, gradient)


@dataclass(frozen=True, eq=False)
class PDHG:
    """min over bounds of f(A x) + sum_i g_i(K_i x), all terms dualised, the bounds in the primal step.

    x~  = P(x - tau (A^T u + sum K_i^T v_i)),                  xbar = 2 x~ - x
    u~  = prox_{s0 f*}(u + s0 A xbar),      v_i~ = prox_{s_i g_i*}(v_i + s_i K_i xbar)
    (x, u, v) <- (x, u, v) + relaxation ((x~, u~, v~) - (x, u, v))

    x~, u~, v~ are what states show: x~ is within the bounds and v~ in the domain of g*. Each dual step has
    its own length: s_i grows with the natural size of v_i over that of K_i x (`Functional.slope`), s0 is at
    most the curvature of f and at most what gives A the same share as the K_i, and
    tau = 1 / ||s0 A^T A + sum s_i K_i^T K_i||, measured by a few Lanczos steps rather than bounded by the sum
    of norms: A blurs and K sharpens, so the sum is about twice too large. For least squares of scans, u has
    a ramp filter as its metric (see `Ramp`), in s0 as in tau. A x, A^T u and K_i^T v_i go on by linearity:
    one projection and one back-projection a step.

    Parameters
    ----------
    relaxation : between 0 and 2; 1 is the plain scheme and needs the least memory.
    balance : factor of all dual steps, the primal one being divided by it.
    spectrum : Lanczos steps for tau; 0 takes the sum of norms.
    ramp : exponent of the ramp filter, between 0 (none) and 1.

    References
    ----------
    A. Chambolle and T. Pock, J. Math. Imaging Vis. 40 (2011) 120, doi:10.1007/s10851-010-0251-1; L. Condat,
    J. Optim. Theory Appl. 158 (2013) 460, doi:10.1007/s10957-012-0245-9 (relaxation); T. Pock and
    A. Chambolle, ICCV (2011) 1762, doi:10.1109/ICCV.2011.6126441 (several step lengths).
    """

    relaxation: float = 1.9
    balance: float = 1.0
    spectrum: int = 16
    ramp: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.relaxation < 2 and self.balance > 0 and self.spectrum >= 0 and 0 <= self.ramp <= 1):
            raise UsageError(
                f"PDHG(relaxation={self.relaxation}, balance={self.balance}, spectrum={self.spectrum}, "
                f"ramp={self.ramp}): give a relaxation in (0, 2), a positive balance, a spectrum of at "
                "least 0 and a ramp in [0, 1]."
            )

    def check(self, problem: Problem) -> None:
        """Refuse non-linear physics and terms without a dual."""
        require_linear(problem, "PDHG")
        kind = type(problem.fidelity)
        if kind.prox is Fidelity.prox and kind.prox_conjugate is Fidelity.prox_conjugate:
            raise Refusal(f"PDHG: {kind.__name__} has no proximal operator; use FISTA.")
        for prior in problem.priors:
            if prior.outer is None:
                raise Refusal(
                    f"PDHG: {name_of(prior)} is known only by its prox, which has no dual; use ADMM."
                )

    def init(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """The start within the bounds, dual variables of 0 and the step lengths."""
        image = problem.project(problem.like if start is None else start)
        u = torch.zeros_like(problem.fidelity.data)
        forward = problem.physics.A(image) if bool(image.any()) else u
        duals = [torch.zeros_like(prior.operator.A(image)) for prior in problem.priors]
        back = torch.zeros_like(image)
        return {
            "image": image,
            "forward": forward,
            "fit": u,
            "duals": duals,
            "back": back,
            "relaxed": Iterate(image, forward, u, tuple(duals), back),
            **self.steps(problem, start),
        }

    def carried(self, problem: Problem, memory: Memory) -> Memory:
        """The start of a problem where a run of the same terms at other strengths ended.

        Image and dual variables go on, the step lengths are those of the new strengths; the next dual step
        brings v into its new domain.
        """
        ended = {name: memory[name] for name in ("image", "forward", "fit", "duals", "back")}
        relaxed = Iterate(
            memory["image"], memory["forward"], memory["fit"], tuple(memory["duals"]), memory["back"]
        )
        return {**ended, "relaxed": relaxed, **self.steps(problem, memory["image"])}

    def steps(self, problem: Problem, start: torch.Tensor | None) -> Memory:
        """tau, s0 (`sigma`) and the s_i (`sigmas`), one number an item each, and the ramp filter."""
        like = problem.like
        each = like.new_ones(like.shape[0], *[1] * (like.ndim - 1))
        ramp: Ramp | None = None
        if self.ramp and Ramp.suits(problem):
            ramp = Ramp.of(problem.fidelity, self.ramp)  # type: ignore[arg-type]
            sigma, size = each, self._largest(problem, [each], ramp)
        else:
            data = problem.fidelity.estimate
            power = inner(data, data).reshape_as(each)
            curvature = summed(problem.fidelity.curvature(data, data)).reshape_as(each) / power
            sigma = torch.where((curvature > 0) & torch.isfinite(curvature), curvature, each)
            size = each * problem.norm**2
        sigmas, share = [], torch.zeros_like(each)
        if problem.priors:
            scale = scale_of(problem, start)
            for prior in problem.priors:
                sigma_i = each * prior.outer.slope(scale)  # type: ignore[union-attr]
                sigmas.append(sigma_i)
                share = share + sigma_i * prior.operator.norm**2
            sigma = torch.where(share > 0, torch.minimum(sigma, share / size), sigma)
        total = sigma * size + share
        if self.spectrum and problem.priors:
            parts = [s / total for s in (sigma, *sigmas)]
            total = total * self._largest(problem, parts, ramp).clamp_max(1)
        return {
            "tau": 0.999 / (total * self.balance),
            "sigma": sigma * self.balance,
            "sigmas": [s * self.balance for s in sigmas],
            "symbol": None if ramp is None else ramp.symbol,
            "root": None if ramp is None else ramp.root,
        }

    def step(self, problem: Problem, memory: Memory) -> Memory:
        """x+ = P(x - tau A^T u - ...), then u+ and v+ by proximal steps at 2 x+ - x; relaxed."""
        old: Iterate = memory["relaxed"]
        image = problem.project(torch.addcmul(old.x, memory["tau"], old.gradient, value=-1))
        forward = problem.physics.A(image)
        extrapolated, Ax = torch.lerp(old.x, image, 2.0), torch.lerp(old.Ax, forward, 2.0)
        u = self._data_step(problem, memory, old.u, Ax)
        v = tuple(
            prior.dual_step(before, extrapolated, sigma)
            for prior, before, sigma in zip(problem.priors, old.v, memory["sigmas"], strict=True)
        )
        gradient = problem.physics.A_adjoint(u)
        for prior, dual in zip(problem.priors, v, strict=True):
            gradient = gradient + prior.operator.A_adjoint(dual)
        new = Iterate(image, forward, u, v, gradient)
        return {
            **memory,
            "image": image,
            "forward": forward,
            "fit": u,
            "duals": list(v),
            "back": gradient,
            "relaxed": new if self.relaxation == 1 else old.towards(new, self.relaxation),
        }

    def _data_step(self, problem: Problem, memory: Memory, u: torch.Tensor, Ax: torch.Tensor) -> torch.Tensor:
        """prox_{sigma f*}(u + sigma A x), in the metric of the ramp filter where there is one."""
        sigma = align(memory["sigma"], u)
        if memory["symbol"] is None:
            return problem.fidelity.prox_conjugate(u + sigma * Ax, sigma)
        return Ramp(problem.fidelity.data, memory["symbol"], memory["root"]).dual_step(u, Ax, sigma)

    def gap(self, problem: Problem, memory: Memory) -> float | None:
        """(P - D) / (1 + |P|) at the state's image and dual variables, summed over the batch.

        With r = A^T u + sum K_i^T v_i, D = -f*(u) - sum g_i*(v_i) + sum_j min {r_j x_j: x_j in bounds}.
        A side without a bound would make D = -infinity until r is 0 to the last digit; there low_j or high_j
        is the pixel's value minus or plus the span of the image's grey values. So the gap bounds P(x) - P(x*)
        for every minimiser x* that differs from x by at most that span in each pixel, and by convexity it
        falls short for a farther one by no more than the ratio of the distances. None where a prior does not
        know its conjugate.
        """
        if any(getattr(type(p.outer), "conjugate", None) is Functional.conjugate for p in problem.priors):
            return None
        image, back = memory["image"], memory["back"]
        low, high = problem.bounds
        flat = image.flatten(1)
        span = (largest(flat.amax(1)) - smallest(flat.amin(1))).reshape(-1, *[1] * (image.ndim - 1))
        span = torch.where(span > 0, span, torch.maximum(image.abs(), image.new_ones(())))
        below = image - span if low is None else torch.full_like(image, low)
        above = image + span if high is None else torch.full_like(image, high)
        least = back * torch.where(back > 0, below, above)
        dual = least.flatten(1).sum(1).double() - problem.fidelity.conjugate(memory["fit"]).double()
        primal = problem.fidelity.fn(memory["forward"]).double()
        for prior, v in zip(problem.priors, memory["duals"], strict=True):
            dual = dual - prior.outer.conjugate(v).double()  # type: ignore[union-attr]
            primal = primal + prior.fn(image).double()  # type: ignore[union-attr]
        total = float(summed(primal.sum()))
        return float(summed((primal - dual).sum())) / (1 + abs(total))

    def _largest(self, problem: Problem, parts: list[torch.Tensor], ramp: Ramp | None) -> torch.Tensor:
        """||part_0 A^T M A + sum part_i K_i^T K_i|| of each item, M the metric of u."""
        from imagereg.physics.certificate import Certified

        like, physics = problem.like, problem.physics
        alike = all(bool((p - p[:1]).abs().max() <= 1e-5 * p.abs().max()) for p in parts)
        if alike and isinstance(physics, Certified) and (ramp is None or ramp.root is None):
            # Items that differ only in the size of their steps have one spectrum.
            like, parts = like[:1], [p[:1] for p in parts]

        def normal(x: torch.Tensor) -> torch.Tensor:
            Ax = physics.A(x)
            out = parts[0] * physics.A_adjoint(Ax if ramp is None else ramp.metric(Ax))
            for prior, part in zip(problem.priors, parts[1:], strict=False):
                out = out + part * prior.operator.A_adjoint(prior.operator.A(x))
            return out

        smooth = physics.A_adjoint(physics.A(torch.ones_like(like)))
        found = largest_eigenvalue(normal, like, smooth=smooth, iterations=max(self.spectrum, 8))
        return found.expand(problem.like.shape[0], *found.shape[1:])
