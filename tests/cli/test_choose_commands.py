"""`imagereg choose` and `imagereg learn` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import yaml

from imagereg.recipe import Recipe

if TYPE_CHECKING:
    from conftest import Call

NOISE = ("--set", "physics.noise={name: gaussian, sigma: 0.1}")


def blocks(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = np.zeros((40, 40))
    for _ in range(4):
        top, left = random.integers(0, 28, 2)
        image[top : top + 12, left : left + 12] += 0.3
    return image


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Blocks with noise of 0.1."""
    path = tmp_path / "noisy.npy"
    np.save(path, blocks() + 0.1 * np.random.default_rng(0).standard_normal((40, 40)))
    return path


def test_choose_prints_the_value_and_writes_curve_evidence_and_recipe(
    imagereg: Call, noisy: Path, tmp_path: Path
) -> None:
    words = ("choose", noisy, "-m", "tv", *NOISE, "--vary", "strength=1e-3:1", "-o", "picked")
    done = imagereg(*words, "--by", "discrepancy", "--rule", "tau=1.02", "--tolerance", "1e-4")
    assert done.returncode == 0, done.stderr
    assert "residual as large as the noise" in done.stdout
    folder = tmp_path / "picked"
    assert {p.name for p in folder.iterdir()} == {"choice.json", "curve.png", "preview.png", "recipe.yaml"}
    choice = json.loads((folder / "choice.json").read_text())
    strength = choice["values"]["strength"]
    assert f"strength = {strength:.6g}" in done.stdout
    assert abs(choice["evidence"]["score"]) < 0.02
    assert choice["evidence"]["tau"] == 1.02
    assert choice["evidence"]["noise_norm"] == pytest.approx(0.1 * 40, rel=1e-5)
    assert len(choice["curve"]) == choice["evidence"]["trials"]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")

    # The recipe beside it runs, and its residual is what was promised.
    recipe = Recipe.load(folder / "recipe.yaml")
    assert recipe.resolved_method().strength == strength
    done = imagereg("run", folder / "recipe.yaml", "-q")
    assert done.returncode == 0, done.stderr
    image = tifffile.imread(folder / "result" / "image.tif")
    residual = np.linalg.norm(image - np.load(noisy))
    assert residual == pytest.approx(1.02 * 4.0, rel=0.03)

    # A second choice does not overwrite the first one.
    before = (folder / "choice.json").read_bytes()
    done = imagereg(*words)
    assert done.returncode == 2
    assert "choose another folder" in done.stderr
    assert (folder / "choice.json").read_bytes() == before


def test_choose_speaks_json_and_picks_its_rule(imagereg: Call, noisy: Path) -> None:
    done = imagereg("choose", noisy, "-m", "tikhonov", "--vary", "strength=1e-2:100", "--json", "-o", "c")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines[:-1]] == ["trial"] * (len(lines) - 1)
    assert lines[-1]["event"] == "done"
    assert lines[-1]["evidence"]["rule"] == "gcv"  # an image whose noise nobody stated
    assert 0.01 < lines[-1]["values"]["strength"] < 100


def test_choose_on_a_raw_scan_holds_views_out(imagereg: Call, scan: Path, tmp_path: Path) -> None:
    done = imagereg(
        "choose", scan, "-m", "tikhonov", "--vary", "strength=1e-3:10", "--iterations", "15", "-o", "picked"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    choice = json.loads((tmp_path / "picked" / "choice.json").read_text())
    assert choice["evidence"]["rule"] == "held_out"
    assert choice["evidence"]["held_out"] == "1/5 of the views"
    recipe = yaml.safe_load((tmp_path / "picked" / "recipe.yaml").read_text())
    assert any("flatfield" in step for step in recipe["preprocess"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--vary", "strength=1"), "write NAME=LOW:HIGH"),
        (("--by", "discrepancy", "--rule", "tua=1"), "did you mean 'tau'"),
    ],
)
def test_mistakes_end_in_one_sentence(
    imagereg: Call, noisy: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    done = imagereg("choose", noisy, "-m", "tv", *words, "-o", "picked")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "picked").exists()


def test_learn_writes_a_preset_that_a_recipe_takes(imagereg: Call, noisy: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for half in ("noisy", "clean"):
        (tmp_path / "pairs" / half).mkdir(parents=True)
    for seed in range(2):
        clean = blocks(seed + 1)
        np.save(tmp_path / "pairs" / "clean" / f"{seed}.npy", clean)
        spoilt = clean + 0.1 * random.standard_normal(clean.shape)
        np.save(tmp_path / "pairs" / "noisy" / f"{seed}.npy", spoilt)
    words = ("learn", "pairs", "-m", "tv", "--by", "maid", "--setting", "smoothing=0.01", "--steps", "8")
    done = imagereg(*words, "-o", "preset.yaml")
    assert done.returncode == 0, done.stderr
    preset = yaml.safe_load((tmp_path / "preset.yaml").read_text())
    assert preset["method"] == "tv"
    assert preset["learned"]["by"] == "maid"
    assert preset["learned"]["psnr"] > preset["learned"]["psnr_noisy"] + 3
    assert imagereg(*words, "-o", "preset.yaml").returncode == 2

    (tmp_path / "recipe.yaml").write_text("input: noisy.npy\nmethod: {name: tv, preset: preset.yaml}\n")
    done = imagereg("run", "recipe.yaml", "-o", "out")
    assert done.returncode == 0, done.stderr
    account = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert account["parameters"]["strength"] == preset["parameters"]["strength"]
    image = tifffile.imread(tmp_path / "out" / "image.tif")
    assert np.abs(image - blocks()).mean() < 0.5 * np.abs(np.load(noisy) - blocks()).mean()


def test_learn_refuses_what_cannot_be_learned(imagereg: Call, tmp_path: Path) -> None:
    for half in ("noisy", "clean"):
        (tmp_path / "pairs" / half).mkdir(parents=True)
        np.save(tmp_path / "pairs" / half / "a.npy", blocks())
    done = imagereg("learn", "pairs", "--method", "sirt")
    assert done.returncode == 2
    assert "cannot be learned from pairs" in done.stderr
