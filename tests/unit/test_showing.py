"""`imagereg.show`: what each view draws, and what it refuses."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import imagereg as ir


@pytest.fixture
def ramp() -> NDArray[np.float64]:
    return np.linspace(0, 1, 20 * 30).reshape(20, 30)


def pixels(png: bytes) -> NDArray[Any]:
    from matplotlib.image import imread

    assert png.startswith(b"\x89PNG")
    return imread(io.BytesIO(png), format="png")


def colourful(picture: NDArray[Any]) -> float:
    """The share of pixels that are not grey."""
    return float((np.ptp(picture[..., :3], axis=-1) > 0.1).mean())


def test_side_by_side_is_as_wide_as_it_has_images(ramp: NDArray[Any]) -> None:
    one, three = ir.show(ramp), ir.show(ramp, ramp, ramp)
    assert pixels(three.png).shape[1] > 2.5 * pixels(one.png).shape[1]
    assert one._repr_html_() is None and one._repr_png_() == one.png


def test_titles_come_from_the_mapping_the_method_or_the_place(ramp: NDArray[Any]) -> None:
    result = ir.Result(ramp, provenance={"method": "tv"})
    assert ir.show({"before": ramp, "after": result}).titles == ("before", "after")
    assert ir.show(result, ramp, result).titles == ("tv", "2", "tv 3")


def test_titles_tell_the_psnr_of_all_but_the_truth(ramp: NDArray[Any]) -> None:
    drawn = ir.show({"truth": ramp, "brighter": ramp + 0.1}, truth=ramp)
    assert drawn.titles == ("truth", "brighter, 20.0 dB")


def test_the_truth_sets_the_grey_scale(ramp: NDArray[Any]) -> None:
    dark = pixels(ir.show({"bright": 10 * ramp}).png)
    bright = pixels(ir.show({"bright": 10 * ramp}, truth=ramp).png)
    assert bright[..., 0].mean() > dark[..., 0].mean() + 0.1


def test_tensors_volumes_and_scans_show_their_middle(ramp: NDArray[Any]) -> None:
    import torch

    flat = ir.show(ramp.astype(np.float32)).png
    tensor = torch.as_tensor(ramp, dtype=torch.float32)[None, None].requires_grad_()
    assert ir.show(tensor).png == flat
    volume = np.stack([0 * ramp, ramp, 0 * ramp]).astype(np.float32)
    assert ir.show(volume).png == flat
    # 20 views of 3 rows: the sinogram of the middle row.
    geometry = ir.ParallelBeam(np.linspace(0, np.pi, 20), columns=30, rows=3)
    scan = ir.Measurement(np.moveaxis(volume, 0, 1), geometry=geometry)
    assert ir.show(scan).png == flat


def test_a_difference_is_white_where_there_is_none_and_red_where_the_second_is_larger(
    ramp: NDArray[Any],
) -> None:
    assert colourful(pixels(ir.show(ramp, ramp, view="difference").png)) < 0.12  # the colour bar
    more = pixels(ir.show(ramp, ramp + 1, view="difference").png)
    assert colourful(more) > 0.15
    assert more[..., 0].mean() > more[..., 2].mean() + 0.03


def test_a_profile_draws_every_image(ramp: NDArray[Any]) -> None:
    one = ir.show(ramp, view="profile", row=3).png
    two = ir.show(ramp, 1 - ramp, view="profile", row=3).png
    assert colourful(pixels(two)) > colourful(pixels(one))
    assert ir.show(ramp, view="profile", row=4).png != one


def test_a_swipe_holds_both_images_on_one_scale_and_needs_nothing_else(ramp: NDArray[Any]) -> None:
    swipe = ir.show({"a <b>": ramp, "c": ramp + 5}, view="swipe")
    assert swipe._repr_png_() is None
    html = swipe._repr_html_()
    assert html is not None and "a &lt;b&gt;" in html and "<script" not in html and "http" not in html
    first, second = (pixels(b64decode(data)) for data in re.findall(r"base64,([^\"]+)", html))
    assert first.shape[:2] == second.shape[:2] == ramp.shape
    assert np.ptp(first[..., 0]) > 0.9 and second[..., 0].min() == 1  # all of it above the scale


def test_pictures_are_saved_once_and_under_their_own_suffix(ramp: NDArray[Any], tmp_path: Path) -> None:
    drawn = ir.show(ramp)
    assert drawn.save(tmp_path / "a.png").read_bytes() == drawn.png
    with pytest.raises(ir.ImageregError, match="exists"):
        drawn.save(tmp_path / "a.png")
    with pytest.raises(ir.ImageregError, match=r"saved as \.html"):
        ir.show(ramp, ramp, view="swipe").save(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("images", "options", "sentence"),
    [
        ((), {}, "one image at least"),
        ((np.zeros(4),), {}, "two axes at least"),
        ((np.zeros((4, 4)),), {"view": "swip"}, "did you mean 'swipe'"),
        ((np.zeros((4, 4)),), {"view": "swipe"}, "takes two images"),
        ((np.zeros((4, 4)), np.zeros((4, 5))), {"view": "difference"}, "one shape"),
        ((np.zeros((4, 4)),), {"view": "profile", "row": 4}, "not within"),
    ],
)
def test_it_says_what_is_wrong(images: Any, options: Any, sentence: str) -> None:
    with pytest.raises(ir.ImageregError, match=sentence):
        ir.show(*images, **options)
