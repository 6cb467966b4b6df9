"""What is declared is imported, and what is imported is declared, where it is needed."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

ROOMS = {
    "imagereg": ("dask", "seismic"),
    "plugins": ("napari", "gui", "dask"),
    "tests": ("test", "napari", "seismic"),
    "benchmarks": ("test", "napari"),
    "docs": ("docs", "test"),
    "notebooks": ("docs", "test"),
}
"""Extras that the code of a folder may need beside the dependencies of the package."""

NEVER_IMPORTED = {
    "imagecodecs": "codecs that tifffile looks up by itself",
    "ipykernel": "the kernel that nbclient starts",
    "mypy": "a command",
    "pytest-qt": "fixtures that pytest finds by itself",
    "pytest-timeout": "a mark",
    "pytest-xdist": "an option of pytest",
    "ruff": "a command",
    "magicgui": "what napari's own forms are made of; the workbench's forms are to move onto it",
    "superqt": "what napari's own controls are made of; the workbench's controls are to move onto it",
}
BROUGHT = {"mkdocs": "mkdocs-material", "pydantic_core": "pydantic", "distributed": "dask"}
"""Modules of packages that come with another one, by design of that one."""

OPTIONAL = {"compressai": "a reference that a test skips without"}


def plain(requirement: str) -> str:
    """The name of a requirement as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;~! ]", requirement)[0]).lower()


@cache
def imported() -> dict[str, set[str]]:
    """Modules of others by the folder whose files import them, lazily or not."""
    found: dict[str, set[str]] = {}
    for room in ROOMS:
        files = sorted((ROOT / room).rglob("*.py"))
        ours = {path.stem for path in files} | {path.parent.name for path in files} | {"imagereg"}
        names: set[str] = set()
        for path in files:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    names.add(node.module.split(".")[0])
                elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
                    names.add(str(getattr(node.args[0], "value", "")).split(".")[0])
        elsewhere = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
        known = set(sys.stdlib_module_names) | ours | elsewhere | {"napari_imagereg", "plugins"}
        found[room] = names - known
    return found


@cache
def owners() -> dict[str, list[str]]:
    """Packages by the modules that they install."""
    return dict(packages_distributions())


def distributions(module: str) -> set[str]:
    """Packages that a module belongs to, as requirements name them."""
    held = {plain(name) for name in owners().get(module, ())}
    return held | {BROUGHT.get(module, module.replace("_", "-"))}


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_imported_is_declared(room: str) -> None:
    declared = {plain(one) for one in PROJECT["dependencies"]}
    for extra in ROOMS[room]:
        declared |= {plain(one) for one in EXTRAS[extra]}
    missing = {name for name in imported()[room] if not distributions(name) & declared} - set(OPTIONAL)
    assert not missing, f"{room} imports {sorted(missing)}: declare them in pyproject.toml"


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_what_is_declared_is_imported(extra: str) -> None:
    rooms = ["imagereg", "plugins"] if not extra else ROOMS
    used = {name for room in rooms for module in imported()[room] for name in distributions(module)}
    declared = EXTRAS[extra] if extra else PROJECT["dependencies"]
    idle = {plain(one) for one in declared} - used - set(NEVER_IMPORTED) - {"imagereg"}
    assert not idle, f"declared and never imported: {sorted(idle)}"


def test_no_exception_is_out_of_date() -> None:
    declared = {plain(one) for group in (PROJECT["dependencies"], *EXTRAS.values()) for one in group}
    used = {name for room in ROOMS for module in imported()[room] for name in distributions(module)}
    assert set(NEVER_IMPORTED) <= declared
    assert not set(NEVER_IMPORTED) & used
