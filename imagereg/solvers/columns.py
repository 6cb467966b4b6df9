"""Orthonormal columns that a Krylov space grows by, in one piece of memory."""

from __future__ import annotations

import torch


class Columns:
    """A batch of k orthonormal columns of n entries.

    Columns do not change: `joined` gives those with one more. It stands behind the last one in the same
    memory where that is free, so that a space grows without being copied, and in a copy where another
    successor of the same columns is there already.

    Parameters
    ----------
    room : (B, capacity, n), of which the first `count` columns are these.
    count : k.
    taken : how many columns of the room somebody holds, one list for all who share it.
    """

    def __init__(self, room: torch.Tensor, count: int, taken: list[int]) -> None:
        self._room, self._count, self._taken = room, count, taken

    @classmethod
    def none(cls, like: torch.Tensor, capacity: int) -> Columns:
        """No columns yet, for images or data like `like`, (B, ...), with room for `capacity`."""
        return cls(like.new_empty(like.shape[0], capacity, like[0].numel()), 0, [0])

    def __len__(self) -> int:
        return self._count

    @property
    def all(self) -> torch.Tensor:
        """The columns, (B, k, n)."""
        return self._room[:, : self._count]

    def dots(self, a: torch.Tensor) -> torch.Tensor:
        """<column_j, a> of each item, (B, k) in float64."""
        return (self.all @ a.flatten(1)[..., None])[..., 0].double()

    def combine(self, z: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """sum_j z_j column_j for z of (B, k), in the shape of `like`."""
        return (z[:, None].to(self._room.dtype) @ self.all).reshape(like.shape)

    def split(self, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`a` as sum_j z_j column_j + rest: z of (B, k), the rest normalised, and its norm (B,).

        By Gram-Schmidt, once more where much was taken away, since rounding then is no longer small. Where
        the rest is no more than rounding, it is zero and so is its norm.
        """
        whole = size = a.flatten(1).norm(dim=1)
        along = torch.zeros(a.shape[0], len(self), dtype=torch.float64, device=a.device)
        for _ in range(2 if len(self) else 0):
            part = self.dots(a)
            along, a = along + part, a - self.combine(part, a)
            before, size = size, a.flatten(1).norm(dim=1)
            if bool((size >= 0.7 * before).all()):
                break
        size = torch.where(size > 10 * torch.finfo(a.dtype).eps * whole, size, torch.zeros_like(size))
        factor = torch.where(size > 0, 1 / size, torch.zeros_like(size))
        return along, a * factor.reshape(-1, *([1] * (a.ndim - 1))), size

    def joined(self, column: torch.Tensor) -> Columns:
        """These columns and one more, normalised and orthogonal to them (or zero)."""
        room, taken = self._room, self._taken
        if taken[0] != self._count or self._count == room.shape[1]:
            room = room.new_empty(room.shape[0], max(room.shape[1], self._count + 1), room.shape[2])
            room[:, : self._count] = self.all
            taken = [self._count]
        room[:, self._count] = column.flatten(1)
        taken[0] += 1
        return Columns(room, self._count + 1, taken)
