"""Random draws and elementwise functions that work alike on NumPy arrays and torch tensors.

All draws come from NumPy's generators in double precision, so that a seed means the same noise for both
kinds of array, for every dtype and on every device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagereg.errors import UsageError

if TYPE_CHECKING:
    import numpy as np


def is_tensor(array: Any) -> bool:
    """Whether an array is a torch tensor (asked without importing torch)."""
    return type(array).__module__.partition(".")[0] == "torch" or hasattr(array, "detach")


def random(seed: Any) -> np.random.Generator:
    """The NumPy generator that a seed stands for; a `torch.Generator` gives one by drawing a number.

    Raises
    ------
    UsageError
        When it is none of these.
    """
    import numpy as np

    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0:
        return np.random.default_rng(int(seed))
    if is_tensor(seed) or type(seed).__module__.startswith("torch"):
        import torch

        if isinstance(seed, torch.Generator):
            drawn = torch.randint(2**62, (1,), generator=seed, device=seed.device)
            return np.random.default_rng(int(drawn))
    raise UsageError(f"seed={seed!r}: give a whole number from 0, or a numpy or torch Generator.")


def normal(like: Any, seed: Any) -> Any:
    """White noise of variance one in the shape of `like` (circular where it is complex)."""
    generator, shape = random(seed), tuple(like.shape)
    drawn = generator.standard_normal(shape)
    if "complex" in str(like.dtype):
        drawn = (drawn + 1j * generator.standard_normal(shape)) / 2**0.5
    return as_like(drawn, like)


def poisson(mean: Any, seed: Any) -> Any:
    """Poisson numbers of the given means."""
    return as_like(random(seed).poisson(as_numpy(mean)), mean)


def gamma(like: Any, shape: float, seed: Any) -> Any:
    """Gamma numbers of mean one and variance 1 / shape in the shape of `like`."""
    return as_like(random(seed).standard_gamma(shape, tuple(like.shape)) / shape, like)


def as_numpy(array: Any) -> np.ndarray[Any, Any]:
    """An array on the CPU in double precision."""
    import numpy as np

    return np.asarray(array.detach().cpu() if is_tensor(array) else array, dtype=np.float64)


def as_like(values: np.ndarray[Any, Any], like: Any) -> Any:
    """NumPy values as the kind, dtype and device of `like` (double precision where it holds integers)."""
    import numpy as np

    if is_tensor(like):
        import torch

        real = like.dtype.is_floating_point or like.dtype.is_complex
        return torch.from_numpy(np.asarray(values)).to(like.device, like.dtype if real else torch.float64)
    real = np.issubdtype(like.dtype, np.inexact)
    return np.asarray(values).astype(like.dtype if real else np.float64)


def exp(array: Any) -> Any:
    """e to the power of each value."""
    if is_tensor(array):
        return array.exp()
    import numpy as np

    return np.exp(array)


def log(array: Any) -> Any:
    """Natural logarithm of each value."""
    if is_tensor(array):
        return array.log()
    import numpy as np

    return np.log(array)


def filled(like: Any, value: float) -> Any:
    """One value in the shape of `like`."""
    import numpy as np

    return as_like(np.full(tuple(like.shape), value), like)


def norms(array: Any) -> Any:
    """||.||_2 of each item of a batch (tensors of four axes or more), or of the whole array."""
    if is_tensor(array) and array.ndim >= 4:
        found = array.detach().abs().double().flatten(1).square().sum(1).sqrt()
        return found.reshape(-1, *([1] * (array.ndim - 1)))
    return (abs(array.detach() if is_tensor(array) else array) ** 2).sum() ** 0.5


def count(array: Any) -> int:
    """Number of values of one item of a batch, or of the whole array."""
    total = 1
    for n in array.shape[1:] if is_tensor(array) and array.ndim >= 4 else array.shape:
        total *= int(n)
    return total
