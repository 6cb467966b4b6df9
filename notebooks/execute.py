"""Run the tutorials: `python notebooks/execute.py [--refresh] [NAME ...]`.

The scripts are what people edit. Each runs in a kernel of its own, in an empty folder; a cell that fails, and
with it a figure that is not what the text claims, ends the run. With `--refresh` the notebooks are written
anew, with small pictures and without times; without, nothing in the tree changes, for pictures and last
digits are those of the processor that made them.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = 90  # a tutorial that takes longer loses its reader
GREYS, COLOURS = 48, 128


def tutorials(names: list[str] | None = None) -> list[Path]:
    """The scripts in order, or those whose names begin with one of `names`."""
    scripts = sorted(HERE.glob("[0-9][0-9]_*.py"))
    return [s for s in scripts if not names or any(s.stem.startswith(name) for name in names)]


def execute(script: Path) -> Any:
    """The notebook of a script with the outputs of a run.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        When a cell fails.
    """
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(script)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=_in(folder))
        return client.execute()


def _in(folder: str) -> dict[str, Any]:
    return {"metadata": {"path": folder}}


def quieted(notebook: Any) -> Any:
    """The same notebook, less what changes from run to run, with small pictures."""
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = [_small(output) for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def _small(output: Any) -> Any:
    """An output with its picture in few shades and without the text that stands for the picture."""
    output.pop("metadata", None)
    if "data" in output:
        output["metadata"] = {}
        if "image/png" in output.data:
            output.data = {"image/png": _few_shades(output.data["image/png"])}
        elif "text/html" in output.data:
            output.data = {"text/html": output.data["text/html"]}
    return output


def _few_shades(encoded: str) -> str:
    import numpy as np
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    coloured = float((np.ptp(np.asarray(picture), axis=-1) > 24).mean()) > 0.05
    few = picture.quantize(COLOURS if coloured else GREYS, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    few.save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def main(names: list[str], *, refresh: bool) -> None:
    """Run the tutorials, one line each, and write them where that is asked for."""
    import jupytext

    chosen, total = tutorials(names), 0.0
    if not chosen:
        sys.exit(f"no tutorial begins with {' or '.join(names)}.")
    for script in chosen:
        began = time.perf_counter()
        notebook = quieted(execute(script))
        seconds = time.perf_counter() - began
        total += seconds
        if refresh:
            jupytext.write(notebook, script.with_suffix(".ipynb"), fmt="ipynb")
        late = f"   over {SECONDS} s" if seconds > SECONDS else ""
        print(f"{script.stem:32} {seconds:6.1f} s{late}", flush=True)
    print(f"{'together':32} {total:6.1f} s")


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "--refresh"], refresh="--refresh" in sys.argv)
