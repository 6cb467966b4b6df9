"""The form: every kind of parameter, from declaration to value and back."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest

from imagereg.methods.base import Method
from imagereg.parameters import parameter


class Toy(Method):
    """A method with every kind of parameter."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"
    summary: ClassVar[str] = "nothing"
    reference: ClassVar[str] = ""

    strength: float = parameter(0.02, "how much", ge=1e-6, le=10, log=True)
    iterations: int = parameter(100, "how long", ge=1, le=1000)
    isotropic: bool = parameter(True, "which norm")
    window: Literal["ramp", "hann"] = parameter("ramp", "which window")
    low: float | None = parameter(None, "lower bound", unit="1/mm")
    seed: int = parameter(0, "seed", ge=0, level="advanced")
    name_of: str | None = parameter(None, "free text", level="advanced")
    level: float = parameter(1.0, "what the rule finds otherwise", only={"window": "hann"})


@pytest.fixture
def form(qtbot: Any) -> Any:
    from napari_imagereg.form import ParameterForm

    form = ParameterForm()
    form.show_model(Toy)
    qtbot.addWidget(form)
    return form


def test_defaults_survive_the_form(form: Any) -> None:
    assert Toy(**form.values()) == Toy()
    assert form.values(changed_only=True) == {}
    assert form.error() == ""


def test_an_edit_brings_what_it_counts_with_only(form: Any) -> None:
    form.row("level").set_value(2.0)
    assert form.values(changed_only=True) == {"level": 2.0, "window": "hann"}
    form.row("window").set_value("ramp")
    form.row("level").set_value(1.0)
    assert form.values(changed_only=True) == {}
    form.set_values({"level": 1.0})  # chosen, and by chance the default
    assert form.values(changed_only=True) == {"window": "hann"}
    form.show_model(Toy, {"level": 2.0, "window": "ramp"})
    assert form.values(changed_only=True) == {"level": 2.0}
    form.show_model(Toy, {"level": 2.0})
    assert form.values(changed_only=True) == {"level": 2.0, "window": "hann"}


def test_values_go_in_and_come_out(form: Any, qtbot: Any) -> None:
    values = {
        "strength": 3.7e-4,
        "iterations": 7,
        "isotropic": False,
        "window": "hann",
        "low": 0.5,
        "seed": 4,
    }
    with qtbot.waitSignal(form.changed):
        form.set_values(values)
    assert form.values(changed_only=True) == pytest.approx(values)
    form.set_values({"low": None})
    assert form.values()["low"] is None


def test_reset_brings_the_default_back(form: Any) -> None:
    row = form.row("strength")
    row.set_value(1.0)
    assert row.is_changed()
    row._reset.click()
    assert form.values()["strength"] == 0.02
    assert not row.is_changed()


def test_levels_hide_what_is_advanced(form: Any) -> None:
    form.show()
    assert not form.row("seed").isVisible()
    assert form.row("strength").isVisible()
    form.set_advanced(True)
    assert form.row("seed").isVisible()


def test_the_log_slider_covers_the_bounds(form: Any) -> None:
    editor = form.row("strength").editor
    editor._slider.setValue(0)
    assert editor.value() == pytest.approx(1e-6, rel=0.05)
    editor._slider.setValue(editor._slider.maximum())
    assert editor.value() == pytest.approx(10, rel=0.05)


def test_units_and_descriptions_are_shown(form: Any) -> None:
    from qtpy.QtWidgets import QLabel

    labels = [label.text() for label in form.row("low").findChildren(QLabel)]
    assert "low (1/mm)" in labels
    assert "how much" in form.row("strength").editor.toolTip()


def test_a_new_declaration_replaces_the_old(form: Any) -> None:
    from imagereg.methods.registry import methods

    for declared in methods().values():
        form.show_model(declared)
        assert declared(**form.values()) == declared(), declared.name
        assert list(form) == list(declared.model_fields)


def test_the_preferences_of_the_viewer_are_taken(plugin_settings: Any, npe2pm: Any) -> None:
    from napari.settings import get_plugin_settings
    from napari_imagereg.settings import Settings
    from npe2 import PluginManifest

    assert Settings.load() == Settings()
    if "imagereg" not in npe2pm:
        npe2pm.register(PluginManifest.from_distribution("imagereg"))
    kept: Any = get_plugin_settings("imagereg")
    kept.imagereg.device = "cpu"
    kept.imagereg.preview_size = 512
    assert Settings.load() == Settings(device="cpu", threads=0, preview_size=512)
