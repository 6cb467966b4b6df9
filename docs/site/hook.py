"""Pages that are made from the project itself, when the site is built: tutorials, methods, commands, API."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import commands
import drawings
import figures
import methods
import physics
import reference
import tutorials

ROOT = Path(__file__).resolve().parents[2]
PICTURES = os.environ.get("IMAGEREG_DOCS_PICTURES", "1") != "0"
"""Whether every method makes its picture, which takes about a minute the first time."""


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation, and written ones that it does not name."""
    made = {
        "Tutorials": tutorials.navigation(ROOT / "notebooks"),
        "Methods": methods.navigation(),
        "Decisions": [f"adr/{path.name}" for path in sorted((ROOT / "docs" / "adr").glob("*.md"))],
    }
    named = str(config["nav"])
    others = [path.name for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in named]
    for entry in config["nav"]:
        for title in entry:
            if title in made:
                entry[title] = made[title]
            if title == "Reference":
                entry[title] = [*entry[title], *others, *reference.navigation()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Make the pages and their pictures."""
    from mkdocs.structure.files import File

    pages: dict[str, str | bytes] = {}
    pages |= tutorials.pages(ROOT / "notebooks")
    pages |= methods.pages(ROOT / "build" / "pictures" if PICTURES else None)
    pages |= {
        "reference/commands.md": commands.page(),
        "reference/kinds.md": physics.page(),
        "figures.md": figures.page(),
    }
    pages |= reference.pages()
    pages |= {f"how-to/{name}.svg": drawing for name, drawing in drawings.drawings().items()}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files
