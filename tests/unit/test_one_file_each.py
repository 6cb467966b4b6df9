"""A new method, step, reader or kind of physics is one file, in another package or in the tree."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import imagereg.io.base as io_base
import imagereg.io.readers as readers_room
import imagereg.methods as methods_room
import imagereg.methods.registry as methods_registry
import imagereg.physics.kinds as kinds_room
import imagereg.physics.registry as physics_registry
import imagereg.preprocessing as steps_room
import imagereg.preprocessing.registry as steps_registry
from imagereg import discovery
from imagereg.errors import UsageError
from imagereg.physics.registry import kinds
from imagereg.recipe import Recipe
from imagereg.running.local import run

METHOD = """
from __future__ import annotations

from typing import ClassVar

from imagereg.methods.base import Method
from imagereg.parameters import parameter


class Doubled(Method):
    '''A^T y, times a factor.'''

    name: ClassVar[str] = "doubled"
    title: ClassVar[str] = "Doubled"
    summary: ClassVar[str] = "the adjoint of the data, times a factor"
    reference: ClassVar[str] = "none"
    factor: float = parameter(2.0, "what the image is multiplied by", gt=0)

    def iterate(self, measurement):
        from imagereg.solvers.state import State

        image = self.factor * measurement.physics.A_adjoint(measurement.data)
        yield State(image, 1, 1, finished="1 step")
"""

READER = """
from __future__ import annotations

from typing import ClassVar

import numpy as np

from imagereg.io.base import Reader
from imagereg.measurement import Measurement, Source


class Plain(Reader):
    '''Numbers in lines of text.'''

    name: ClassVar[str] = "plain"
    title: ClassVar[str] = "Plain numbers"
    suffixes: ClassVar[tuple[str, ...]] = (".numbers",)
    hints: ClassVar[frozenset[str]] = frozenset()

    def sniff(self, path):
        return path.suffix == ".numbers"

    def read(self, path, hints):
        return Measurement(np.loadtxt(path, dtype=np.float32), source=Source(path, self.name))
"""

STEP = """
from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from imagereg.parameters import parameter
from imagereg.preprocessing.base import Outcome, Step


class Lifted(Step):
    '''y + offset.'''

    name: ClassVar[str] = "lifted"
    title: ClassVar[str] = "Lifted"
    summary: ClassVar[str] = "a number added to all data"
    offset: float = parameter(1.0, "what is added")

    def work(self, measurement):
        return Outcome(replace(measurement, data=measurement.data + np.float32(self.offset)))
"""

PHYSICS = """
from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from imagereg.parameters import parameter
from imagereg.physics.registry import PhysicsKind


class Mirrored(PhysicsKind):
    '''y = gain x.'''

    name: ClassVar[str] = "mirrored"
    title: ClassVar[str] = "Gain"
    summary: ClassVar[str] = "a gain"
    task: ClassVar[str] = "undo a gain"
    gain: float = parameter(3.0, "factor of the data over the image", gt=0)

    def build(self, measurement, place):
        from deepinv.physics import LinearPhysics

        gain = self.gain

        class Gain(LinearPhysics):
            def A(self, x, **_):
                return gain * x

            def A_adjoint(self, y, **_):
                return gain * y

        return replace(measurement, physics=Gain())
"""

SOURCES = {"doubled": METHOD, "plain_numbers": READER, "lifted": STEP, "gain": PHYSICS}
ROOMS: dict[str, tuple[ModuleType, str, str]] = {
    "doubled": (methods_room, "imagereg.methods", "Doubled"),
    "plain_numbers": (readers_room, "imagereg.readers", "Plain"),
    "lifted": (steps_room, "imagereg.steps", "Lifted"),
    "gain": (kinds_room, "imagereg.physics", "Mirrored"),
}


def _forget() -> None:
    for cached in (
        methods_registry.methods, io_base.readers, steps_registry.steps, physics_registry.kinds,
    ):  # fmt: skip
        cached.cache_clear()


@pytest.fixture(params=["another package", "the tree"])
def added(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One new file of each, where a package of one's own or the tree would have it."""
    names: list[str] = []
    points: dict[str, list[Any]] = {}
    for stem, source in SOURCES.items():
        room, group, title = ROOMS[stem]
        folder = tmp_path / stem
        folder.mkdir()
        (folder / f"{stem}.py").write_text(source, encoding="utf-8")
        if request.param == "the tree":
            monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
            names.append(f"{room.__name__}.{stem}")
            continue
        spec = importlib.util.spec_from_file_location(f"elsewhere_{stem}", folder / f"{stem}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kind = getattr(module, title)
        points.setdefault(group, []).append(
            type("Point", (), {"value": title, "load": staticmethod(lambda k=kind: k)})
        )
    if points:
        monkeypatch.setattr(discovery, "entry_points", lambda group: points.get(group, []))
    _forget()
    yield request.param
    for name in names:
        sys.modules.pop(name, None)
    _forget()


def test_one_file_of_each_serves_a_whole_run(added: str, tmp_path: Path) -> None:
    values = np.arange(12.0).reshape(3, 4)
    np.savetxt(tmp_path / "picture.numbers", values)
    recipe = Recipe.of_mapping(
        {
            "input": str(tmp_path / "picture.numbers"),
            "preprocess": [{"lifted": {"offset": 2.0}}],
            "physics": {"kind": "mirrored", "gain": 5.0},
            "method": {"name": "doubled", "factor": 0.5},
            "output": {"folder": str(tmp_path / "out"), "formats": ["npy"]},
            "execution": {"threads": 1},
        }
    )
    for _ in run(recipe):
        pass
    made = np.load(tmp_path / "out" / "image.npy")
    np.testing.assert_allclose(made, 0.5 * 5.0 * (values + 2.0), rtol=1e-6)
    again = Recipe.load(tmp_path / "out" / "recipe.yaml")
    assert again.physics.declared.model_dump() == {"gain": 5.0}
    from imagereg.cli.commented import commented
    from imagereg.schema import schema

    assert "a gain" in commented(recipe)
    titles = [card.get("title") for card in schema()["properties"]["physics"]["anyOf"]]
    assert "Gain" in titles


def test_an_unknown_kind_or_parameter_ends_in_a_sentence() -> None:
    def recipe(**physics: Any) -> Recipe:
        return Recipe.of_mapping({"input": "x.npy", "method": "tv", "physics": physics})

    with pytest.raises(UsageError, match=r"no kind of physics is called 'blurr'; did you mean 'blur'"):
        recipe(kind="blurr", blur=1.0)
    with pytest.raises(UsageError, match="factr: no such parameter; did you mean 'factor'"):
        recipe(kind="downsampling", factr=3)
    with pytest.raises(UsageError, match="factor belongs to kind downsampling, and this is blur"):
        recipe(kind="blur", blur=1.0, factor=3)
    with pytest.raises(UsageError, match="blur = -1: input should be greater than 0"):
        recipe(kind="blur", blur=-1)
    # Recipes of earlier versions state the defaults of other kinds.
    assert recipe(kind="auto", factor=2).plain()["physics"]["kind"] == "auto"


def test_every_kind_has_its_card() -> None:
    for name, kind in kinds().items():
        assert kind.title and kind.summary[0].islower() and kind.task
        assert all(field.description for field in kind.model_fields.values()), name
