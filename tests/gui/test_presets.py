"""Presets: shipped, saved, learned; the form starts from them and says what was changed since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from napari_imagereg import samples

from imagereg.methods.registry import method, methods
from imagereg.presets import load_preset, presets_for
from imagereg.recipe import Recipe


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGEREG_PRESETS", str(tmp_path / "own"))
    return tmp_path / "own"


def test_shipped_presets_are_of_their_methods() -> None:
    assert {"quick look", "few views", "converged"} <= set(presets_for("tv"))
    for name in methods():
        for preset in presets_for(name).values():
            found = load_preset(preset, method=name)
            method(name, **found.parameters)
            assert found.learned["by"]


def test_a_preset_is_chosen_changed_kept_and_found_again(viewer: Any, workbench: Any, own: Path) -> None:
    workbench.data.use_layer(viewer.add_image(samples.noisy()[0][0][:64, :64], name="noisy"))
    session, panel = workbench.session, workbench.method
    session.choose_method("tv")
    assert panel.presets.names()[0] == "defaults"
    panel.presets.choose("quick look")
    assert panel.form.values()["iterations"] == 60
    # A changed value that is advanced is seen in the basic level, and what the preset gives is no change.
    assert not panel.form.row("iterations").is_changed()
    assert panel.form.row("tolerance").isHidden()
    panel.form.set_values({"strength": 0.3, "iterations": 300})
    recipe = session.recipe()
    # 300 is the declared default, and yet it goes before the preset.
    assert recipe.method.model_extra == {"strength": 0.3, "iterations": 300}
    assert recipe.method.preset == "tv_quick_look"
    assert recipe.resolved_method().iterations == 300
    panel.presets.save("my own")
    assert (own / "tv_my_own.yaml").exists()
    assert session.recipe().resolved_method() == recipe.resolved_method()
    assert not panel.form.row("strength").is_changed()
    panel.form.set_values({"strength": 0.9})
    assert panel.form.row("strength").is_changed()
    panel.presets._reset.click()
    assert panel.form.values()["strength"] == 0.3
    # Another method has its own, and the way back keeps what was chosen.
    session.choose_method("wavelet")
    assert "my own" not in panel.presets.names()
    session.choose_method("tv")
    assert "my own" in panel.presets.names()
    assert Path(session.recipe().method.preset) == own / "tv_my_own.yaml"
    panel.presets.choose("defaults")
    assert session.recipe() == Recipe.of_mapping({**session.recipe().plain(), "method": "tv"})


def test_learned_presets_are_opened_and_others_refused(workbench: Any, tmp_path: Path) -> None:
    workbench.session.choose_method("tv")
    path = tmp_path / "learned.yaml"
    path.write_text("method: tv\nparameters: {strength: 0.123}\nlearned: {by: maid, pairs: 10}\n")
    row = workbench.method.presets
    row.open_file(str(path))
    assert workbench.method.form.values()["strength"] == 0.123
    assert "maid" in row._combo.toolTip()
    assert row._combo.currentText() == "learned"
    (tmp_path / "other.yaml").write_text("method: fbp\nparameters: {window: hann}\n")
    row.open_file(str(tmp_path / "other.yaml"))
    assert "preset for fbp" in workbench.footer.error()
    assert workbench.session.presets["tv"] == str(path)
    row.save("no/name")
    assert "letters" in workbench.footer.error()


def test_a_changed_value_is_not_hidden_by_the_basic_level(workbench: Any) -> None:
    workbench.session.choose_method("tv")
    form = workbench.method.form
    workbench.set_level("Advanced")
    assert not form.row("tolerance").isHidden()
    form.set_values({"tolerance": 0.5})
    workbench.set_level("Basic")
    assert not form.row("tolerance").isHidden()
    assert form.row("solver").isHidden()
