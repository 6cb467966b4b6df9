"""What README, CONTRIBUTING and the maths page say is what the code does."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import imagereg as ir
from imagereg import discovery
from imagereg.methods import registry
from imagereg.methods.registry import methods

ROOT = Path(__file__).resolve().parents[2]


def snippets(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def landweber(tmp_path: Path) -> type[ir.Method]:
    """The method of CONTRIBUTING.md, pasted into a file of its own."""
    path = tmp_path / "landweber.py"
    path.write_text(snippets("CONTRIBUTING.md")[0], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("landweber", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Landweber


def test_the_method_of_contributing_runs_as_pasted(
    landweber: type[ir.Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = type("Point", (), {"value": "landweber:Landweber", "load": staticmethod(lambda: landweber)})
    monkeypatch.setattr(discovery, "entry_points", lambda group: [point] if group == registry.GROUP else [])
    registry.methods.cache_clear()
    try:
        geometry = ir.ParallelBeam(np.linspace(0, np.pi, 20, endpoint=False), columns=24)
        physics = ir.tomography(geometry, ir.Volume((16, 16)))
        truth = physics.A_adjoint(physics.A(physics.example() + 1)) / 500
        scan = ir.Measurement(physics.A(truth), physics=physics)

        def left(**parameters: Any) -> float:
            state = deque(ir.iterate(scan, "landweber", **parameters), maxlen=1).pop()
            return float((physics.A(state.image) - scan.data).norm() / scan.data.norm())

        assert left(iterations=40) < left(iterations=5) < 0.5
        assert left(iterations=5, step=0.2) > left(iterations=5)
        with pytest.raises(ir.ImageregError, match="did you mean 'step'"):
            left(stepp=1.0)
    finally:
        registry.methods.cache_clear()


def test_the_method_of_contributing_loads_nothing_heavy_at_its_top() -> None:
    tree = ast.parse(snippets("CONTRIBUTING.md")[0])
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names if name.startswith(("torch", "imagereg.solvers"))}


def test_the_page_of_formulas_has_every_method() -> None:
    page = (ROOT / "docs" / "maths.md").read_text(encoding="utf-8")
    assert [name for name in methods() if f"`{name}`" not in page] == []


def test_readme_lists_every_command() -> None:
    import typer

    from imagereg.cli.app import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `(\w+)` \|", readme, flags=re.MULTILINE))
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert table == commands


def test_readme_names_the_exit_codes_of_errors() -> None:
    import imagereg.errors as errors

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if line.startswith("Exit codes:"))
    told = set(map(int, re.findall(r"\b(\d+) ", line)))
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, ir.ImageregError)]
    assert {kind.exit_code for kind in kinds} | {0, 130} == told


def test_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagereg.simulation import write_raw_scan

    monkeypatch.chdir(tmp_path)
    write_raw_scan(tmp_path / "tooth.h5", columns=48, rows=1, views=40, seed=0)
    code = snippets("README.md")[0].replace("columns=768", "columns=48").replace("(512, 512)", "(32, 32)")
    shown: list[Any] = []
    room = ModuleType("readme")
    monkeypatch.setattr(ir, "show", lambda *args, **kwargs: shown.append(args), raising=False)
    exec(compile(code, "README.md", "exec"), vars(room))
    assert shown
    assert (tmp_path / "tooth.ome.zarr").exists()
