"""The house rules that a machine can hold: import direction, lazy imports, file sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "imagereg"

# From the ground up; a file may import from its own floor and those below it.
FLOORS = [
    {"errors", "cores", "yaml_text", "discovery", "parameters"},
    {"geometry"},
    {"projectors"},
    {"metrics"},
    {"physics"},
    {"measurement"},
    {"phantoms"},
    {"fidelities", "priors", "networks"},
    {"solvers", "noise", "choose", "uncertainty", "training"},
    {"methods", "presets", "preprocessing", "io", "samples", "simulation"},
    {
        "recipe",
        "sections",
        "intervals",
        "rescaling",
        "engine",
        "schema",
        "provenance",
        "preview",
        "showing",
        "running",
        "services",
        "testing",
    },
    {"cli", "__main__"},
]
RANK = {name: rank for rank, floor in enumerate(FLOORS) for name in floor}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def imports(tree: ast.AST, *, top_only: bool = False) -> set[str]:
    """Modules imported when running; `top_only` leaves out those inside functions."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if is_type_checking(child):
                continue
            if top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.add(child.module)
            walk(child)

    walk(tree)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in RANK, f"{path}: give the room {room!r} a floor in this test"
    for module in imports(ast.parse(path.read_text())):
        parts = module.split(".")
        if parts[0] == "imagereg" and len(parts) > 1:
            assert RANK[parts[1]] <= RANK[room], f"{path.name} ({room}) imports {module}, which lies above it"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_engine_knows_no_gui_and_files_stay_small(path: Path) -> None:
    text = path.read_text()
    gui = {"napari", "qtpy", "magicgui", "superqt"}
    assert not {m.split(".")[0] for m in imports(ast.parse(text))} & gui
    assert len(text.splitlines()) <= 400, f"{path}: one file, one idea"


QUICK = [
    "cli",
    "errors",
    "geometry",
    "measurement",
    "methods",
    "io",
    "recipe",
    "preview",
    "samples",
    "phantoms",
]


@pytest.mark.parametrize(
    "path", [p for p in modules() if room_of(p) in QUICK], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_quick_rooms_import_no_torch_at_the_top(path: Path) -> None:
    heavy = {"torch", "deepinv", "astra", "numba", "skimage", "matplotlib"}
    assert not {m.split(".")[0] for m in imports(ast.parse(path.read_text()), top_only=True)} & heavy


@pytest.mark.parametrize(
    "code",
    [
        "import imagereg",
        "import imagereg.cli",
        "from imagereg.methods.registry import methods; methods()",
        "from imagereg.schema import schema; schema()",
        "import imagereg.io, imagereg.measurement",
    ],
)
def test_light_entrances_stay_light(code: str) -> None:
    heavy = "{'torch', 'deepinv', 'astra', 'napari'}"
    check = f"import sys\n{code}\nbad = {heavy} & set(sys.modules)\nassert not bad, bad"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


def test_every_public_name_resolves() -> None:
    import imagereg

    assert 20 <= len(imagereg.__all__) <= 32
    for name in imagereg.__all__:
        assert getattr(imagereg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = imagereg.nonsense


def test_no_files_import_each_other_in_a_circle() -> None:
    """At the top of modules; what functions import, and what types alone need, comes later."""
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in modules()}
    files = {path: name.removesuffix(".__init__") for path, name in names.items()}
    known = set(files.values())
    graph: dict[str, set[str]] = {}
    for path, own in files.items():
        found: set[str] = set()
        for node in top_imports(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {one if one in known else node.module for one in inner}
        graph[own] = (found & known) - {own}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def top_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that run when a module is imported."""
    for child in ast.iter_child_nodes(tree):
        if is_type_checking(child) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from top_imports(child)
