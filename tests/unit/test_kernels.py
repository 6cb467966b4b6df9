"""Kernels say what they read: columns of tables by name, and no more arguments than a reader can hold."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import imagereg.projectors
from imagereg.projectors.simd import features

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


def test_kernels_are_made_for_the_processor_that_numba_compiles_for() -> None:
    assert features("", True) == set()
    assert features("+sse4.2,-avx2,+avx512f", True) == {"sse4.2", "avx512f"}
    assert not any("avx" in name for name in features(None, False))


def test_a_processor_without_wide_vectors_has_the_same_numbers(tmp_path: Path) -> None:
    """A cone, whose kernels permute vectors, in a process of its own."""
    script = """
import numpy as np, torch, sys
import imagereg as ir
from imagereg.projectors import projector
angles = np.linspace(0, 2 * np.pi, 5, endpoint=False)
cone = ir.ConeBeam(angles, 14, pixel=1.5, rows=13, source_origin=60, source_detector=90)
lines = projector(cone, ir.Volume((9, 10, 11)))
data = lines.forward(torch.rand((1, 1, 9, 10, 11), generator=torch.Generator().manual_seed(0)))
np.save(sys.argv[1], np.concatenate([data.numpy().ravel(), lines.back(data).numpy().ravel()]))
"""
    found = []
    for number, changes in enumerate(({}, {"NUMBA_CPU_NAME": "generic"})):
        environment = {**os.environ, **changes}
        path = tmp_path / f"{number}.npy"
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=environment)
        found.append(np.load(path))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-4 * float(np.abs(found[0]).max()))
