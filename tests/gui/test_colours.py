"""The colours of curves: told apart by everybody, and read on both themes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from napari.utils.theme import get_theme
from napari_imagereg.form import CHANGED
from napari_imagereg.plot import ON_DARK, ON_LIGHT

# Machado, Oliveira, Fernandes, IEEE Trans. Vis. Comput. Graph. 15 (2009) 1291, full severity, linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour: str) -> np.ndarray:
    code = colour.removeprefix("#")
    code = code if len(code) == 6 else "".join(2 * letter for letter in code)
    values = np.array([int(code[k : k + 2], 16) for k in (0, 2, 4)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    from skimage.color import rgb2lab

    shown = np.clip(rgb, 0, 1)
    return rgb2lab(np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("colours", [ON_DARK, ON_LIGHT], ids=["on dark", "on light"])
def test_curves_are_told_apart_with_every_kind_of_sight(colours: tuple[str, ...], sight: str) -> None:
    seen = [lab(SIGHT[sight] @ linear(colour)) for colour in colours]
    # A difference of 2.3 in CIELAB is just noticed; thin lines need several times that.
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 10


@pytest.mark.parametrize(("theme", "colours"), [("dark", ON_DARK), ("light", ON_LIGHT)])
def test_their_names_are_read_on_the_theme(theme: str, colours: tuple[str, ...]) -> None:
    """Contrast of 4.5 to 1 for text and 3 to 1 for signs: WCAG 2, success criteria 1.4.3 and 1.4.11."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    ground = float(weights @ linear(get_theme(theme).background.as_hex()))
    for colour, least in (*((colour, 4.5) for colour in colours), (CHANGED, 3.0)):
        light = float(weights @ linear(colour))
        assert (max(light, ground) + 0.05) / (min(light, ground) + 0.05) >= least, colour
