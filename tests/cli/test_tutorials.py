"""Every tutorial runs and its own figures hold; its notebook is the script, with the outputs of a run."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import jupytext
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SCRIPTS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))
tutorials = pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])


@tutorials
def test_it_runs_and_its_figures_hold(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    # All in this process: starting Python and importing torch for each would take longer than the tutorials.
    import matplotlib
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context({"backend": "agg"}):
        runpy.run_path(str(script))
        plt.close("all")


@tutorials
def test_the_notebook_is_the_script_and_was_run(script: Path) -> None:
    written = jupytext.read(script)
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    assert cells == [(cell.cell_type, cell.source) for cell in written.cells], "run make notebooks"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "run make notebooks"
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert script.with_suffix(".ipynb").stat().st_size < 600_000


@tutorials
def test_it_keeps_to_the_form_of_a_tutorial(script: Path) -> None:
    cells = jupytext.read(script).cells
    first, last = cells[0], cells[-1]
    assert first.cell_type == "markdown" and "**You will be able to**" in first.source
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert any("## Exercise" in text for text in texts)
    assert any(text.startswith("### Answer") for text in texts)
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert any("assert " in source for source in code[-3:]), "figures are asserted at the end"
    assert last.source.strip()
