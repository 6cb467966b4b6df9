"""Squares cut out of images at random, turned and mirrored: what every network here is fed with."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def draw(bound: int, generator: torch.Generator) -> int:
    """A whole number from 0 to bound - 1."""
    return int(torch.randint(bound, (), generator=generator))


def square_of(image: torch.Tensor, edge: int, generator: torch.Generator) -> torch.Tensor:
    """One square at random of an image (..., H, W), turned by quarters and mirrored: (..., edge, edge).

    The last two axes are cut and turned; those before them stay together.
    """
    height, width = image.shape[-2:]
    top, left, turns, flip = (draw(bound, generator) for bound in (height - edge + 1, width - edge + 1, 4, 2))
    square = image[..., top : top + edge, left : left + edge].rot90(turns, (-2, -1))
    return square.flip(-1) if flip else square


def squares_of(
    images: torch.Tensor | Sequence[torch.Tensor], edge: int, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Squares of images (H, W) drawn as often as one another: (count, 1, edge, edge)."""
    squares = [square_of(images[draw(len(images), generator)], edge, generator) for _ in range(count)]
    return torch.stack(squares)[:, None]


def faded(squares: torch.Tensor, contrast: float, generator: torch.Generator) -> torch.Tensor:
    """The same squares (B, ...), each with up to `contrast` of it given up for one grey value in [0, 1]."""
    shape = (len(squares), *[1] * (squares.ndim - 1))
    factor = 1 - contrast * torch.rand(shape, generator=generator)
    return factor * squares + (1 - factor) * torch.rand(shape, generator=generator)


def middle_of(image: torch.Tensor, edge: int) -> torch.Tensor:
    """The square in the middle of an image (..., H, W)."""
    top, left = ((length - edge) // 2 for length in image.shape[-2:])
    return image[..., top : top + edge, left : left + edge]
