"""What is certain of an operator: its norm, that its adjoint is its transpose, that it is linear."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import torch

from imagereg.errors import UsageError

Data: TypeAlias = Any
"""A tensor, or a list of tensors where a physics stacks several."""


@dataclass(frozen=True)
class Certificate:
    """Measured properties of a linear operator A for images of one shape, dtype and device.

    Attributes
    ----------
    norm : an upper bound of ||A||, tight to about 1e-4 (see `operator_norm`).
    adjoint_error : largest |<A x, y> - <x, A* y>| / (||A x|| ||y||) over pairs of signed noise.
    transpose_error : estimate of ||A - B^T||_F / ||A||_F, B being the given adjoint.
    linearity_error : ||A(a x + b z) - a A x - b A z|| / (||a A x|| + ||b A z||).
    exact_transpose : whether both adjoint errors are at the level of rounding.
    image_shape, data_shape : what A takes and gives.
    dtype, device : with what and on what it was measured.
    seed : seed of the noise.
    """

    norm: float
    adjoint_error: float
    transpose_error: float
    linearity_error: float
    exact_transpose: bool
    image_shape: tuple[int, ...]
    data_shape: tuple[Any, ...]
    dtype: str
    device: str
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for provenance."""
        plain = asdict(self)
        return {**plain, "image_shape": list(self.image_shape), "data_shape": list(self.data_shape)}


def certify(physics: Any, like: torch.Tensor, *, seed: int = 0) -> Certificate:
    """Measure norm, adjointness and linearity of any deepinv `LinearPhysics`.

    Four pairs of signed noise (x_i, y_j) give both adjoint errors: with d = <A x, y> - <x, B y>,
    transpose_error = sqrt(mean |d|^2 / mean |<A x, y>|^2), whose expectation under white noise is the
    relative Frobenius distance of B from the transpose; the adjoint error divides |d| by ||A x|| ||y||.

    Parameters
    ----------
    physics : a deepinv `LinearPhysics`; images and data may be real or complex, data may be a list.
    like : an image whose shape, dtype and device count; its values do not.
    seed : seed of the noise, which is the same on every device and for every dtype.

    Raises
    ------
    UsageError
        When the physics is not linear by declaration, or A gives something that is not finite.
    """
    _must_be_linear(physics, "certify")
    like = _one_item(physics, like)
    kept = _kept(physics, like, "certificate", seed)
    if "value" not in kept:
        kept["value"] = _measure(physics, like, seed)
    return kept["value"]


def operator_norm(physics: Any, like: torch.Tensor, *, iterations: int = 100, seed: int = 0) -> float:
    """An upper bound of ||A||_2, tight to about 1e-4, by Lanczos steps on A* A.

    Power iteration with its Rayleigh quotient, with all of the Krylov space used: after k steps theta is
    the largest eigenvalue of the k x k tridiagonal matrix, beta |s_k| the norm of the residual of its
    Ritz vector, and the returned value is sqrt(theta + beta |s_k|) (1 + 1e-6): theta never exceeds
    ||A||^2, and the residual bounds how far it falls short once the Ritz value has settled on the top
    of the spectrum. Steps end when beta |s_k| <= 1e-4 theta. The start is noise plus a constant image,
    because operators with non-negative entries have a positive leading singular vector.

    The value is kept on the physics for each shape, dtype and device, until one of its buffers changes.

    Parameters
    ----------
    physics : a deepinv `LinearPhysics`.
    like : an image whose shape, dtype and device count; its values do not.
    iterations : at most so many applications of A* A; the bound stays valid when they do not suffice.
    seed : seed of the start.

    Raises
    ------
    UsageError
        When the physics is not linear by declaration, or A gives something that is not finite.

    References
    ----------
    C. C. Paige, J. Inst. Math. Appl. 10 (1972) 373, doi:10.1093/imamat/10.3.373; Y. Zhou and R.-C. Li,
    Linear Algebra Appl. 435 (2011) 480, doi:10.1016/j.laa.2010.06.034 (the bound).
    """
    _must_be_linear(physics, "operator_norm")
    like = _one_item(physics, like)
    kept = _kept(physics, like, "norm", iterations, seed)
    if "value" not in kept:
        kept["value"] = _lanczos(physics, like, iterations, seed)
    return kept["value"]


@dataclass(frozen=True, eq=False)
class Transpose:
    """A^T of a linear physics: `A.T(y)` is `A.A_adjoint(y)`, and `A.T.T` is A."""

    physics: Any

    def __call__(self, y: Data) -> Data:
        """A^T y, in the shape of images."""
        return self.physics.A_adjoint(y)

    @property
    def T(self) -> Any:
        """The physics itself."""
        return self.physics


class Certified:
    """Mixin of our own physics: they know an image that they take, so they can vouch for themselves.

    `A(x)` is A x with the noise of the physics, where it has one, as in deepinv; `A.T(y)` is A^T y.
    """

    @property
    def T(self) -> Transpose:
        """The adjoint as an operator of its own.

        Raises
        ------
        UsageError
            When the physics is not linear.
        """
        _must_be_linear(self, "T")
        return Transpose(self)

    def forward(self, x: torch.Tensor, **noise_parameters: Any) -> Data:
        """A noisy measurement: keywords go to the noise model alone, so that operators can refuse them."""
        physics: Any = self
        return physics.sensor(physics.noise(physics.A(x), **noise_parameters))

    def example(self) -> torch.Tensor:
        """An image of zeros of a shape, dtype and device that A takes, one item in the batch."""
        raise UsageError(
            f"{type(self).__name__} takes images of any shape and has met none yet: give "
            "certificate(like=image)."
        )

    def certificate(self, like: torch.Tensor | None = None, *, seed: int = 0) -> Certificate:
        """Norm, adjoint errors and linearity (see `certify`), measured once and kept.

        Parameters
        ----------
        like : an image whose shape, dtype and device count; `example()` where not given.
        seed : seed of the noise.
        """
        return certify(self, self.example() if like is None else like, seed=seed)


def inner(a: Data, b: Data) -> complex | float:
    """<a, b>, summed in double precision, conjugate-linear in a; lists are summed over their entries."""
    if not isinstance(a, torch.Tensor):
        return sum(inner(one, other) for one, other in zip(_entries(a), _entries(b), strict=True))
    wide = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    value = torch.vdot(a.flatten().to(wide), b.flatten().to(wide)).item()
    return complex(value) if wide is torch.complex128 else float(value)


def norm(a: Data) -> float:
    """||a||_2, summed in double precision."""
    return math.sqrt(abs(inner(a, a)))


def noise_like(a: Data, generator: torch.Generator) -> Data:
    """Signed white noise in the shape of `a`, drawn in double precision on the CPU."""
    if not isinstance(a, torch.Tensor):
        return type(a)([noise_like(entry, generator) for entry in _entries(a)])
    wide = torch.complex128 if a.is_complex() else torch.float64
    return torch.randn(a.shape, dtype=wide, generator=generator).to(device=a.device, dtype=a.dtype)


def _measure(physics: Any, like: torch.Tensor, seed: int) -> Certificate:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        images = [noise_like(like, generator) for _ in range(2)]
        forward = [physics.A(x) for x in images]
        data = [noise_like(forward[0], generator) for _ in range(2)]
        back = [physics.A_adjoint(y) for y in data]
        if not all(math.isfinite(norm(a)) for a in (*forward, *back)):
            raise UsageError(
                f"certify: {type(physics).__name__} gives values that are not finite on finite images."
            )
        mixed = physics.A(0.8 * images[0] - 1.7 * images[1])
        gaps = [m - 0.8 * a + 1.7 * b for m, a, b in zip(*map(_entries, (mixed, *forward)), strict=True)]
        scale = 0.8 * norm(forward[0]) + 1.7 * norm(forward[1])
        linearity = norm(gaps) / scale if scale else norm(gaps)
        errors, squares, sizes = [], 0.0, 0.0
        for x, ax in zip(images, forward, strict=True):
            for y, aty in zip(data, back, strict=True):
                left, right = inner(ax, y), inner(x, aty)
                if not like.is_complex():  # a real space of images has the real part as its product
                    left, right = complex(left).real, complex(right).real
                size = norm(ax) * norm(y)
                errors.append(abs(left - right) / size if size else abs(left - right))
                squares, sizes = squares + abs(left - right) ** 2, sizes + abs(left) ** 2
        transpose = math.sqrt(squares / sizes) if sizes else math.sqrt(squares)
    wide = torch.finfo(like.dtype).bits >= 64
    shapes = [tuple(entry.shape) for entry in _entries(forward[0])]
    return Certificate(
        norm=operator_norm(physics, like, seed=seed),
        adjoint_error=max(errors),
        transpose_error=transpose,
        linearity_error=linearity,
        exact_transpose=max(errors) <= (1e-12 if wide else 1e-6) and transpose <= (1e-10 if wide else 1e-4),
        image_shape=tuple(like.shape),
        data_shape=shapes[0] if len(shapes) == 1 else tuple(shapes),
        dtype=str(like.dtype).removeprefix("torch."),
        device=str(like.device),
        seed=seed,
    )


def _lanczos(physics: Any, like: torch.Tensor, iterations: int, seed: int) -> float:
    noise = noise_like(like, torch.Generator().manual_seed(seed))
    vector = noise / norm(noise) + torch.full_like(like, 1 / math.sqrt(like.numel()))
    vector = vector / norm(vector)
    before, beta = torch.zeros_like(vector), 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    bound = 0.0
    with torch.no_grad():
        for _ in range(max(iterations, 1)):
            image = physics.A_adjoint(physics.A(vector)) - beta * before
            alpha = complex(inner(vector, image)).real
            image = image - alpha * vector
            beta = norm(image)
            if not math.isfinite(alpha + beta):
                raise UsageError(
                    f"operator_norm: {type(physics).__name__} gives values that are not finite on finite "
                    "images."
                )
            diagonal.append(alpha)
            matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
            if beside:
                off = torch.tensor(beside, dtype=torch.float64)
                matrix = matrix + torch.diag(off, 1) + torch.diag(off, -1)
            values, vectors = torch.linalg.eigh(matrix)
            theta, short = float(values[-1]), beta * abs(float(vectors[-1, -1]))
            bound = theta + short
            if short <= 1e-4 * theta or beta <= 1e-7 * abs(theta):
                break
            beside.append(beta)
            before, vector = vector, image / beta
    return math.sqrt(max(bound, 0.0)) * (1 + 1e-6)


def _must_be_linear(physics: Any, who: str) -> None:
    from deepinv.physics import LinearPhysics

    if not isinstance(physics, LinearPhysics):
        raise UsageError(
            f"{who}: {type(physics).__name__} is not a deepinv LinearPhysics, and only linear physics have "
            "an adjoint and a norm; declare it as one, or take a solver that only needs gradients."
        )


def _one_item(physics: Any, like: torch.Tensor) -> torch.Tensor:
    """Our own physics treat every item of a batch alike, so that one speaks for all."""
    return like[:1].detach() if isinstance(physics, Certified) else like.detach()


def _entries(a: Data) -> list[torch.Tensor]:
    """The tensors of what a physics gives: one, or those of a list or of a deepinv `TensorList`."""
    if isinstance(a, torch.Tensor):
        return [a]
    return list(a.x if hasattr(a, "x") else a)


def _kept(physics: Any, like: torch.Tensor, *key: Any) -> dict[str, Any]:
    """The drawer on the physics for one question about one kind of image; emptied when a buffer changes.

    The buffers themselves are kept beside their version counters: a new tensor can then not be mistaken
    for an old one that lay at the same address.
    """
    buffers = [*physics.buffers(), *physics.parameters()]
    versions = [0 if b.is_inference() else b._version for b in buffers]
    cabinet = physics.__dict__.get("_certified")
    same = (
        cabinet is not None
        and len(cabinet["buffers"]) == len(buffers)
        and all(a is b for a, b in zip(cabinet["buffers"], buffers, strict=True))
        and cabinet["versions"] == versions
    )
    if cabinet is None or not same:
        cabinet = {"buffers": buffers, "versions": versions, "drawers": {}}
        object.__setattr__(physics, "_certified", cabinet)
    return cabinet["drawers"].setdefault((*key, tuple(like.shape), like.dtype, str(like.device)), {})
