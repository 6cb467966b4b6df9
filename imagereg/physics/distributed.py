"""One volume parted among processes along its rows: sums over the whole, and the rows next door.

A solver that is handed a part of a volume asks here for whatever concerns the whole. In a process that
works alone, and that is nearly always, every question is answered by its own numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch

ROWS = 2
"""The axis that is parted: D of (B, C, D, H, W)."""


@dataclass(frozen=True)
class Part:
    """This process's share of a volume; sums go through torch.distributed.

    Attributes
    ----------
    rank : number of the process.
    rows : rows of each process, in order.
    """

    rank: int
    rows: tuple[int, ...]

    @property
    def first(self) -> int:
        """The first row of this process in the whole."""
        return sum(self.rows[: self.rank])

    def reduced(self, value: torch.Tensor, how: str) -> torch.Tensor:
        """The sum, the maximum or the minimum over all processes, the same bits in each."""
        import torch.distributed as net

        kinds = {"sum": net.ReduceOp.SUM, "max": net.ReduceOp.MAX, "min": net.ReduceOp.MIN}
        whole = value.detach().clone().contiguous()
        net.all_reduce(whole, kinds[how])
        return whole

    def next_door(self, mine: torch.Tensor, *, before: bool) -> torch.Tensor | None:
        """The same as `mine` of the process before (or after) this one; None at the end of the volume.

        Parameters
        ----------
        mine : what the process on the other side gets of this one.
        """
        import torch.distributed as net

        to, source = (self.rank + 1, self.rank - 1) if before else (self.rank - 1, self.rank + 1)
        last = len(self.rows) - 1
        sent = net.isend(mine.contiguous(), to) if 0 <= to <= last else None
        got: torch.Tensor | None = None
        if 0 <= source <= last:
            got = torch.empty_like(mine, memory_format=torch.contiguous_format)
            net.recv(got, source)
        if sent is not None:
            sent.wait()
        return got


_part: ContextVar[Part | None] = ContextVar("part", default=None)


@contextmanager
def working_on(part: Part) -> Iterator[None]:
    """Inside, volumes are this part of a whole."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


def part_held(image: torch.Tensor) -> Part | None:
    """The part that a volume (B, C, D, H, W) is; None where it is whole."""
    return _part.get() if image.ndim == 5 else None


def summed(value: torch.Tensor) -> torch.Tensor:
    """The sum of a number over all parts of the whole."""
    part = _part.get()
    return value if part is None else part.reduced(value, "sum")


def largest(value: torch.Tensor) -> torch.Tensor:
    """The largest of a number over all parts of the whole."""
    part = _part.get()
    return value if part is None else part.reduced(value, "max")


def smallest(value: torch.Tensor) -> torch.Tensor:
    """The smallest of a number over all parts of the whole."""
    part = _part.get()
    return value if part is None else part.reduced(value, "min")


def whole_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the whole volume of which a tensor of the given shape is the part here."""
    part = _part.get()
    if part is None or len(shape) != 5:
        return tuple(shape)
    return (*shape[:ROWS], sum(part.rows), *shape[ROWS + 1 :])


def own_rows(whole: torch.Tensor) -> torch.Tensor:
    """The rows of this process of something drawn for the whole volume, so that all draw alike."""
    part = part_held(whole)
    return whole if part is None else whole.narrow(ROWS, part.first, part.rows[part.rank])


def kth_value(flat: torch.Tensor, k_of: float, *, high: bool) -> torch.Tensor:
    """The quantile that leaves int(k_of (n - 1)) of n values of each item below (or above) it.

    Parameters
    ----------
    flat : (B, n), the values of this part.
    high : the upper end instead of the lower.
    """
    part = _part.get()
    if part is None:
        skip = int(k_of * (flat.shape[1] - 1))
        return flat.kthvalue(flat.shape[1] - skip if high else 1 + skip, dim=1).values
    count = int(summed(torch.tensor([float(flat.shape[1])], dtype=torch.float64)))
    skip = int(k_of * (count - 1))
    below, above = smallest(flat.amin(1)).double(), largest(flat.amax(1)).double()
    wanted = count - skip if high else 1 + skip
    # Halving until two neighbouring numbers are left finds the very value without moving the others.
    for _ in range(80):
        middle = (below + above) / 2
        enough = summed((flat.double() <= middle[:, None]).sum(1).double()) >= wanted
        below, above = torch.where(enough, below, middle), torch.where(enough, middle, above)
    return above.to(flat.dtype)
