"""A method that learns on the open image and states its own error: the live curve, the layers, the legend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from napari_imagereg.uncertainty import offers

from imagereg import discovery
from imagereg.methods import registry
from imagereg.methods.base import Method
from imagereg.parameters import parameter
from imagereg.solvers.outcome import PixelUncertainty


class ToyLearner(Method):
    """Pulls the image towards its mean while a made-up loss falls."""

    name: ClassVar[str] = "toy_learner"
    title: ClassVar[str] = "Toy learner"
    summary: ClassVar[str] = "a stand-in for methods that are trained on the open image"
    reference: ClassVar[str] = ""

    steps: int = parameter(12, "Steps of training", ge=1)

    def iterate(self, measurement: Any) -> Iterator[Any]:
        from imagereg.solvers.outcome import Outcome
        from imagereg.solvers.state import State

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
            outcome=Outcome(
                PixelUncertainty(
                    std=(image - image.mean()).abs(),
                    lower=image - 0.5,
                    upper=image + 0.5,
                    level=0.9,
                    calibrated=False,
                )
            ),
        )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    point = SimpleNamespace(load=lambda: ToyLearner, value="toy")
    monkeypatch.setattr(
        discovery, "entry_points", lambda group: [point] if group == "imagereg.methods" else []
    )
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
    assert legend.lower().count("not calibrated") == 1


def test_a_method_without_uncertainty_offers_nothing() -> None:
    assert offers(None) == ()


@pytest.mark.parametrize(
    ("calibrated", "words"),
    [(True, "calibrated: on images"), (False, "not calibrated"), (None, "does not say")],
)
def test_the_legend_says_whether_it_is_calibrated(calibrated: bool | None, words: str) -> None:
    known = PixelUncertainty(std=torch.ones(2), calibrated=calibrated, meaning="64 posterior samples")
    (offer,) = offers(known)
    assert words in offer.legend
    assert "64 posterior samples" in offer.legend


def test_layers_of_a_calibrated_preview_say_the_guarantee(tmp_path: Any) -> None:
    """The whole way: bootstrap and calibration by a recipe, the images that the preview offers."""
    from imagereg.engine import reconstruct
    from imagereg.measurement import Measurement
    from imagereg.methods.registry import method
    from imagereg.physics.noise import GaussianNoise
    from imagereg.services.calibrating import write_calibration
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
    shown = {offer.name: offer for offer in offers(state.outcome.uncertainty)}
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


def run_of(workbench: Any, qtbot: Any, method: str, **parameters: Any) -> Any:
    before = len(workbench.session.runs)
    workbench.session.choose_method(method)
    workbench.method.form.set_values(parameters)
    workbench.explorer.start_preview()
    wait = 60000
    qtbot.waitUntil(
        lambda: len(workbench.session.runs) > before or bool(workbench.footer.error()), timeout=wait
    )
    assert workbench.footer.error() == ""
    return workbench.session.runs[-1]


def click(workbench: Any, qtbot: Any, word: str, place: int) -> str:
    """Press one of the panel's buttons and wait for its sentence."""
    from qtpy.QtWidgets import QPushButton

    (button,) = [b for b in workbench.trust.findChildren(QPushButton) if b.text() == word]
    button.click()
    trust, footer = workbench.trust, workbench.footer
    qtbot.waitUntil(lambda: bool(trust.said()[place] or footer.error()), timeout=90000)
    assert footer.error() == ""
    return str(trust.said()[place])


def test_the_residual_and_the_halves_of_a_scan(
    viewer: Any, workbench: Any, qtbot: Any, tmp_path: Any
) -> None:
    from imagereg.simulation import write_raw_scan

    write_raw_scan(tmp_path / "scan.h5", columns=64, rows=4, views=60, seed=1)
    workbench.data.open_path(tmp_path / "scan.h5")
    workbench.data.part.choose(rows="1:4")
    workbench.preview._slice.setValue(2)
    run_of(workbench, qtbot, "fbp")
    said = click(workbench, qtbot, "Residual map", 0)
    assert "times the noise" in said
    assert "3 standard deviations" in said
    residual = viewer.layers["residual #1"]
    assert residual.data.shape == (60, 1, 64)
    assert residual.colormap.name == "PiYG"
    # It lies where the row lies in the scan.
    scan = viewer.layers["scan"]
    assert np.allclose(residual.translate, scan.data_to_world((0, 3, 0)))
    said = click(workbench, qtbot, "Half sets", 1)
    assert "even and odd" in said
    assert "mm (half-bit)" in said
    curves = workbench.trust.plot.curves
    assert set(curves) == {"FSC", "half-bit", "1/7"}
    assert workbench.trust.plot.axis == "cycles per mm"
    image = viewer.layers[workbench.session.runs[0].layer]
    for word in ("first half", "second half"):
        half = viewer.layers[f"{workbench.session.runs[0].title} {word}"]
        assert half.data.shape == image.data.shape
        assert np.allclose(half.scale, image.scale)
        assert np.allclose(half.translate, image.translate)
        assert not half.visible
    # The run's own image comes back alone.
    workbench.runs.show_alone()
    assert image.visible
    assert not residual.visible
    assert not scan.visible
    assert tuple(viewer.dims.order) == tuple(range(viewer.dims.ndim))
    # Other data, other answers.
    workbench.data.part.choose()
    assert workbench.trust.said() == ("", "")


def test_the_residual_and_the_halves_of_a_picture(viewer: Any, workbench: Any, qtbot: Any) -> None:
    from napari_imagereg import samples

    source = viewer.add_image(samples.noisy()[0][0][:64, :80], name="noisy", scale=(2.0, 2.0))
    workbench.data.use_layer(source)
    run_of(workbench, qtbot, "tv", iterations=60)
    said = click(workbench, qtbot, "Residual map", 0)
    assert "estimated" in said
    assert np.allclose(viewer.layers["residual #1"].scale, 2)
    said = click(workbench, qtbot, "Half sets", 1)
    assert "diagonals" in said
    half = viewer.layers[f"{workbench.session.runs[0].title} first half"]
    assert half.data.shape == (32, 40)
    # Pixels twice as large on the same ground.
    edges = [np.array(x.extent.world) + np.outer((-0.5, 0.5), x.scale) for x in (half, source)]
    assert np.allclose(*edges)


def test_questions_without_a_run_are_refused_in_a_sentence(viewer: Any, workbench: Any) -> None:
    workbench.examiner.show_residual()
    assert "preview something first" in workbench.footer.error()
    workbench.examiner.compare_halves()
    assert "preview something first" in workbench.footer.error()
