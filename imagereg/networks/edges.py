"""Images that go on beyond their edges as in a mirror, and the adjoint of that."""

from __future__ import annotations

import torch


def widened(x: torch.Tensor, before: int, rows: int, columns: int) -> torch.Tensor:
    """x with `before` pixels more above and to the left, `rows` more below and `columns` to the right.

    The edge pixel is repeated, ... x_1 x_0 | x_0 x_1 ..., as it is not by `imagereg.networks.unet.mirrored`.
    So windows of equal size around all pixels of an image hold each pixel equally often, those at the edges
    too.

    Parameters
    ----------
    x : (..., H, W).
    """
    return _longer(_longer(x, before, rows, -2), before, columns, -1)


def fold(y: torch.Tensor, before: int, rows: int, columns: int) -> torch.Tensor:
    """The adjoint of `widened`: what lies beyond the edges is added to the pixels that it mirrors."""
    return _shorter(_shorter(y, before, columns, -1), before, rows, -2)


def _longer(x: torch.Tensor, before: int, after: int, axis: int) -> torch.Tensor:
    count = x.shape[axis]
    if not before and not after:
        return x
    if max(before, after) > count:  # a mirror in the mirror
        x = _longer(x, min(before, count), min(after, count), axis)
        return _longer(x, max(before - count, 0), max(after - count, 0), axis)
    head, tail = x.narrow(axis, 0, before), x.narrow(axis, count - after, after)
    return torch.cat((head.flip(axis), x, tail.flip(axis)), axis)


def _shorter(y: torch.Tensor, before: int, after: int, axis: int) -> torch.Tensor:
    count = y.shape[axis] - before - after
    if not before and not after:
        return y
    if max(before, after) > count:
        y = _shorter(y, max(before - count, 0), max(after - count, 0), axis)
        return _shorter(y, min(before, count), min(after, count), axis)
    inside = y.narrow(axis, before, count).clone()
    inside.narrow(axis, 0, before).add_(y.narrow(axis, 0, before).flip(axis))
    inside.narrow(axis, count - after, after).add_(y.narrow(axis, before + count, after).flip(axis))
    return inside
