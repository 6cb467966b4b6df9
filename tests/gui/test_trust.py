"""A method that learns on the open image and states its own error: the live curve, the layers, the legend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from napari_imagereg.uncertainty import offers

from imagereg.methods import registry
from imagereg.methods.base import Method, parameter


class ToyLearner(Method):
    """Pulls the image towards its mean while a made-up loss falls."""

    name: ClassVar[str] = "toy_learner"
    title: ClassVar[str] = "Toy learner"
    summary: ClassVar[str] = "a stand-in for methods that are trained on the open image"
    reference: ClassVar[str] = ""

    steps: int = parameter(12, "Steps of training", ge=1)

    def iterate(self, measurement: Any) -> Iterator[Any]:
        from imagereg.solvers.base import State

        image = measurement.data.clone()
        for step in range(1, self.steps + 1):
            time.sleep(0.05)
            image = 0.9 * image + 0.1 * image.mean()
            yield State(
                image,
                step,
                self.steps,
                phase="training",
                values={"loss": 1 / step, "images_per_second": 20.0},
            )
        yield State(
            image,
            1,
            1,
            finished="one pass",
            memory={
                "image": image,
                "std": (image - image.mean()).abs(),
                "lower": image - 0.5,
                "upper": image + 0.5,
                "level": 0.9,
                "calibrated": False,
            },
        )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    point = SimpleNamespace(load=lambda: ToyLearner, value="toy")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    registry.methods.cache_clear()
    yield
    registry.methods.cache_clear()


def test_training_is_watched_and_uncertainty_is_shown_with_its_legend(
    toy: None, viewer: Any, workbench: Any, qtbot: Any
) -> None:
    rng = np.random.default_rng(0)
    source = viewer.add_image(rng.random((24, 32), dtype=np.float32), name="noisy", scale=(2.0, 2.0))
    workbench.data.use_layer(source)
    workbench.session.choose_method("toy_learner")
    workbench.preview.button.click()
    seen: list[int] = []

    def done() -> bool:
        curve = workbench.preview.plot.curves.get("loss", [])
        seen.append(len(curve))
        return bool(workbench.session.runs) or bool(workbench.footer.error())

    qtbot.waitUntil(done, timeout=60000)
    assert workbench.footer.error() == ""
    # The loss was drawn while it fell, and what says nothing of the image was not.
    curve = workbench.preview.plot.curves["loss"]
    assert len(curve) >= 3
    assert [y for _, y in curve] == sorted((y for _, y in curve), reverse=True)
    assert any(0 < count < len(curve) for count in seen)
    assert "images per second" not in workbench.preview.plot.curves
    # std and interval lie where the image lies, and say what they are worth.
    run = workbench.session.runs[0]
    names = {name: f"{run.layer} {name}" for name in ("std", "width", "lower", "upper")}
    for name in names.values():
        layer = viewer.layers[name]
        assert tuple(layer.scale) == (2.0, 2.0)
        assert layer.metadata["imagereg"]["calibrated"] is False
        assert "not calibrated" in layer.metadata["imagereg"]["meaning"]
    assert np.allclose(viewer.layers[names["width"]].data, 1.0, atol=1e-5)
    legend = workbench.preview.legend()
    assert "standard deviation" in legend
    assert "90% interval" in legend
    assert legend.count("not calibrated") == 4


def test_a_method_without_uncertainty_offers_nothing() -> None:
    assert offers({"image": 1}) == ()


@pytest.mark.parametrize(
    ("calibrated", "words"),
    [(True, "calibrated: on images"), (False, "not calibrated"), (None, "does not say")],
)
def test_the_legend_says_whether_it_is_calibrated(calibrated: bool | None, words: str) -> None:
    held = {"std": np.ones(2), "calibrated": calibrated, "meaning": "64 posterior samples"}
    (offer,) = offers({"image": 0, "uncertainty": held})
    assert words in offer.legend
    assert "64 posterior samples" in offer.legend


def test_layers_of_a_calibrated_preview_say_the_guarantee(tmp_path: Any) -> None:
    """The whole way: bootstrap and calibration by a recipe, the images that the preview offers."""
    from imagereg.engine import reconstruct
    from imagereg.execution.calibrating import write_calibration
    from imagereg.measurement import Measurement
    from imagereg.methods.registry import method
    from imagereg.physics.noise import GaussianNoise
    from imagereg.uncertainty.calibration import Calibration, fingerprint
    from imagereg.uncertainty.conformal import FACTORS

    rng = np.random.default_rng(0)
    noise = GaussianNoise(0.1)
    scan = Measurement(noise.sample(np.ones((24, 24)), seed=1).astype(np.float32), noise=noise)
    tv = method("tv", iterations=10)
    losses = np.minimum(1.0, np.exp(-2 * FACTORS) * (1 + 0.1 * rng.random((20, 1))))
    made = Calibration(
        rule="crc",
        level=0.9,
        delta=0.1,
        losses=losses,
        names=tuple(map(str, range(20))),
        truth="measured",
        method={"name": "tv", "parameters": tv.model_dump(mode="json")},
        source={"source": "noise", "runs": 4},
        physics=fingerprint(scan.ready()),
    )
    write_calibration(made, tmp_path / "calibration.json")
    asked = {"source": "noise", "runs": 4, "calibration": tmp_path / "calibration.json"}
    state = reconstruct(scan, tv, uncertainty=asked).state
    assert state is not None
    shown = {offer.name: offer for offer in offers(state.memory)}
    assert set(shown) == {"std", "mean", "width", "lower", "upper"}
    for end in ("width", "lower", "upper"):
        assert shown[end].calibrated is True
        assert made.guarantee in shown[end].legend
        assert "bootstrap over the noise, 4 runs" in shown[end].legend
    assert shown["std"].calibrated is False
    assert "not calibrated itself" in shown["std"].legend


def test_a_loaded_recipe_keeps_its_uncertainty_section() -> None:
    from napari_imagereg.session import Session

    from imagereg.recipe import Recipe

    session = Session()
    session.load(Recipe.parse("input: none.npy\nuncertainty: {source: noise, runs: 7}\nmethod: tv\n"))
    kept = session.recipe().uncertainty
    assert kept is not None
    assert (kept.source, kept.runs) == ("noise", 7)
