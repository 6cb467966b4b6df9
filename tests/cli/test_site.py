"""The documentation site builds without a warning and holds what the project declares.

Built without the methods' pictures, which `make docs` adds: they would take a minute.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import imagereg
from imagereg.cli.app import app
from imagereg.methods.registry import methods
from imagereg.physics.registry import kinds

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "IMAGEREG_DOCS_PICTURES": "0", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def words(page: Path) -> str:
    """What a reader sees, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))).split())


def test_every_method_has_a_page_with_its_parameters_and_source(site: Path) -> None:
    for name, kind in methods().items():
        page = words(site / "methods" / name / "index.html")
        assert kind.title in page and kind.summary in page
        assert all(field in page for field in kind.model_fields)
        assert kind.reference.split(" ")[-1].rstrip(".)") in page


def test_every_kind_of_physics_is_described_with_its_parameters(site: Path) -> None:
    page = words(site / "reference" / "kinds" / "index.html")
    for name, kind in kinds().items():
        assert name in page and kind.title in page and kind.summary in page
        assert all(field in page for field in kind.model_fields)


def test_every_command_and_every_public_name_is_described(site: Path) -> None:
    commands = words(site / "reference" / "commands" / "index.html")
    assert all(f"imagereg {command.name} " in commands for command in app.registered_commands)
    public = words(site / "reference" / "public" / "index.html")
    assert all(name in public for name in imagereg.__all__ if name != "__version__")


def test_the_figures_are_those_of_the_benchmarks(site: Path) -> None:
    page = words(site / "figures" / "index.html")
    kept = json.loads((ROOT / "benchmarks" / "results" / "real_scans.json").read_text(encoding="utf-8"))
    assert all(f"{row['psnr']:.2f}" in page for row in kept["rows"])
    for script in ("svtv", "graphla", "noise2score", "calibration", "projectors"):
        assert f"benchmarks/{script}.py" in page
    assert "nan" not in page.split()


def test_tutorials_show_their_pictures_and_fold_their_answers(site: Path) -> None:
    for script in ROOT.glob("notebooks/[0-9][0-9]_*.py"):
        page = (site / "tutorials" / script.stem / "index.html").read_text(encoding="utf-8")
        assert page.count(".png") + page.count("data:image/png") >= 2
        assert "<summary>Answer</summary>" in page
    swipe = (site / "tutorials" / "01_first_reconstruction" / "index.html").read_text(encoding="utf-8")
    assert 'class="imagereg-swipe"' in swipe and 'type="range"' in swipe


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in ("index.html", "methods/tv/index.html", "how-to/geometry/index.html"):
        text = (site / page).read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img)[^>]+src=\"https?://|<link[^>]+stylesheet[^>]+https?://", text)
