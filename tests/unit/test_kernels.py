"""Kernels say what they read: columns of tables by name, and no more arguments than a reader can hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import imagereg.projectors

FILES = sorted(Path(imagereg.projectors.__file__).parent.glob("*.py"))
TABLES = {"run", "runs", "lift", "seen", "view", "ray", "column", "depth", "row"}
MOST = 14


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_functions_have_no_more_arguments_than_a_reader_holds(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            given = [*node.args.posonlyargs, *node.args.args]
            assert len(given) <= MOST, f"{path.name}: {node.name} has {len(given)} arguments"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_columns_of_tables_have_names(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Subscript) or getattr(node.value, "id", "") not in TABLES:
            continue
        place = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
        assert not isinstance(place, ast.Constant), (
            f"{path.name}: {ast.unparse(node)} has a number for a name"
        )
