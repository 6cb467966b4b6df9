"""The tutorials as pages: their notebooks with the outputs of the last run."""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path
from typing import Any

FOLDED = "### Answer"


def notebooks(folder: Path) -> list[Path]:
    """The notebooks in order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def navigation(folder: Path) -> list[str]:
    """Pages in order, the overview first."""
    return ["tutorials/index.md", *(f"tutorials/{path.stem}.md" for path in notebooks(folder))]


def pages(folder: Path) -> dict[str, str | bytes]:
    """Pages and pictures by their place in the site."""
    made: dict[str, str | bytes] = {}
    rows = []
    for path in notebooks(folder):
        page, pictures = _page(path)
        made[f"tutorials/{path.stem}.md"] = page
        made |= {f"tutorials/{path.stem}/{name}": picture for name, picture in pictures.items()}
        title, _, promise = page.partition("\n")
        sentence = promise.split("**You will be able to**")[1].split("\n\n")[0]
        rows.append(f"**[{title.lstrip('# ')}]({path.stem}.md)**: {' '.join(sentence.split())}\n")
    made["tutorials/index.md"] = "\n".join(
        [
            "# Tutorials",
            "",
            "Each runs in less than a minute and a half on two cores, without a GPU and without a network.",
            "`make notebooks` runs them all; the notebooks are in the folder `notebooks`.",
            "",
            "You will be able to",
            "",
            *rows,
        ]
    )
    return made


def _page(path: Path) -> tuple[str, dict[str, bytes]]:
    import jupytext

    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    answer: list[str] | None = None
    for cell in jupytext.read(path).cells:
        into = parts if answer is None else answer
        if cell.cell_type == "markdown":
            if cell.source.startswith(FOLDED):
                answer = [cell.source.removeprefix(FOLDED).strip()]
                continue
            into.append(cell.source)
        elif cell.cell_type == "code":
            into.append(f"```python\n{cell.source}\n```")
            into += [_output(output, path.stem, pictures) for output in cell.outputs]
    if answer is not None:
        inner = textwrap.indent("\n\n".join(part for part in answer if part), "    ")
        parts.append(f'??? success "Answer"\n\n{inner}')
    return "\n\n".join(parts), pictures


def _output(output: Any, stem: str, pictures: dict[str, bytes]) -> str:
    if output.output_type == "stream":
        return _text(output.text)
    data = output.data
    if "image/png" in data:
        name = f"{len(pictures)}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        return f"![output {len(pictures)} of the tutorial]({stem}/{name})"
    return data["text/html"] if "text/html" in data else _text(data["text/plain"])


def _text(written: str) -> str:
    return f"```text\n{written.rstrip()}\n```"
