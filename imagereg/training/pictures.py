"""Free photographs that every installation has: those packaged with scikit-image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

NAMES = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


def free_pictures(*, edge: int = 180, held: int = 12) -> list[torch.Tensor]:
    """Grey pictures (H, W) in [0, 1] of scikit-image, whole and at half their size, in tiles.

    The last `held` tiles come from all over them, for validation.

    Parameters
    ----------
    edge : of the tiles in pixels; what does not fill a tile is left out.
    held : number of tiles, evenly apart, that are put last.
    """
    import skimage.data
    from skimage.io import imread

    folder = Path(skimage.data.__file__).parent
    tiles: list[torch.Tensor] = []
    for name in NAMES:
        picture = imread(folder / name).astype(np.float32) / 255
        grey = (
            picture if picture.ndim == 2 else picture[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
        )
        for whole in (grey, _half(grey)):
            tiles += tiled(torch.from_numpy(whole), edge)
    return held_last(tiles, held)


def tiled(picture: torch.Tensor, edge: int) -> list[torch.Tensor]:
    """The squares (edge, edge) side by side in a picture (H, W), from its upper left corner."""
    height, width = picture.shape
    return [
        picture[top : top + edge, left : left + edge].clone()
        for top in range(0, height - edge + 1, edge)
        for left in range(0, width - edge + 1, edge)
    ]


def held_last(tiles: list[torch.Tensor], held: int) -> list[torch.Tensor]:
    """The same tiles, `held` of them, evenly apart, put last."""
    picked = {round((i + 0.5) * len(tiles) / held) for i in range(held)} if held else set()
    return [t for i, t in enumerate(tiles) if i not in picked] + [tiles[i] for i in sorted(picked)]


def _half(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 2 x 2 pixels."""
    even = grey[: grey.shape[0] // 2 * 2, : grey.shape[1] // 2 * 2]
    return even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean((1, 3))
