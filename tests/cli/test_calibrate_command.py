"""`imagereg calibrate` and intervals beside the image, as a user calls them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import tifffile
import yaml

from imagereg.geometry import ParallelBeam
from imagereg.phantoms import simulate
from imagereg.physics.noise import GaussianNoise

Call = Callable[..., "CompletedProcess[str]"]

SECTION = {"source": "bootstrap", "runs": 20, "level": 0.9}


def write_scan(folder: Path, name: str, seed: int, views: int = 24, attenuation: float = 0.2) -> np.ndarray:
    geometry = ParallelBeam(np.linspace(0, np.pi, views, endpoint=False), 32, pixel=0.5)
    scan = simulate(
        "ellipses_and_lines", geometry, noise=GaussianNoise(0.05), seed=seed, attenuation=attenuation
    )
    for half in ("measured", "truth"):
        (folder / half).mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "measured" / f"{name}.npz", sinogram=scan.data, angles_rad=geometry.angles, pixel_mm=0.5
    )
    np.save(folder / "truth" / f"{name}.npy", scan.truth)
    return np.asarray(scan.truth)


@pytest.fixture
def imagereg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process: a calibration takes many calls, and each start takes seconds."""
    from imagereg.cli import main

    def call(*words: str | Path) -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["imagereg", *map(str, words)])
        monkeypatch.chdir(tmp_path)
        try:
            main()
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
        said = capsys.readouterr()
        return CompletedProcess(list(words), code, said.out, said.err)

    return call


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for seed in range(10):
        write_scan(folder, f"scan{seed}", seed)
    return folder


def recipe_in(folder: Path, source: Path, **section: object) -> Path:
    path = folder / "recipe.yaml"
    values = {
        "input": {"path": str(source), "hints": {"geometry": "parallel"}},
        "method": {"name": "fbp", "window": "hann"},
        "uncertainty": {**SECTION, **section},
        "output": {"folder": str(folder / "out"), "formats": ["tiff"]},
    }
    path.write_text(yaml.safe_dump(values))
    return path


def test_calibrate_resume_and_run_with_the_guarantee_beside_the_image(
    imagereg: Call, pairs: Path, tmp_path: Path
) -> None:
    truth = write_scan(tmp_path / "new", "other", 77)
    recipe = recipe_in(tmp_path, tmp_path / "new" / "measured" / "other.npz")
    done = imagereg("calibrate", recipe, "--pairs", pairs, "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["n"] == 10
    calibration = json.loads((tmp_path / "calibration.json").read_text())
    assert calibration["factor"] == last["factor"]
    assert calibration["names"] == sorted(f"scan{seed}" for seed in range(10))
    assert calibration["physics"]["views"] == 24
    assert calibration["method"]["parameters"]["window"] == "hann"
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
    raw = np.mean([row["coverage"] for row in calibration["figures"]])
    assert raw == pytest.approx(last["raw_coverage"], abs=1e-3)
    # 9 images are the least for 0.9, and leave no room for a single miss.
    assert last["left_out_coverage"] > 0.9

    # Again: nothing is run twice, and nothing is overwritten without a word.
    again = imagereg("calibrate", recipe, "--pairs", pairs, "--json", "-o", "calibration.json")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    (tmp_path / "calibration.json").unlink()
    again = imagereg("calibrate", recipe, "--pairs", pairs, "--json")
    kinds = [json.loads(line)["event"] for line in again.stdout.splitlines()]
    assert kinds == ["kept"] * 10 + ["done"]

    # A recipe that names the file gets calibrated intervals, in files beside the image.
    recipe_in(tmp_path, tmp_path / "new" / "measured" / "other.npz", calibration="calibration.json")
    done = imagereg("run", recipe)
    assert done.returncode == 0, done.stderr
    assert "calibrated: on average" in done.stdout
    out = tmp_path / "out"
    image, std, lower, upper = (
        tifffile.imread(out / f"{name}.tif") for name in ("image", "std", "lower", "upper")
    )
    assert (lower < image).all()
    assert (image < upper).all()
    assert std.shape == image.shape
    assert 0.75 < ((truth >= lower) & (truth <= upper)).mean() < 1.0
    assert (out / "uncertainty.png").exists()
    account = json.loads((out / "provenance.json").read_text())["uncertainty"]
    assert account["calibrated"] is True
    assert account["meaning"] == "bootstrap over views, 20 runs"
    assert "at least 0.9 of the pixels" in account["guarantee"]
    assert account["factor"] == pytest.approx(calibration["factor"])

    # The recipe that was written runs again from its own folder, to the same interval.
    done = imagereg("run", out / "recipe.yaml", "--set", f"output.folder={tmp_path / 'twice'}", "-q")
    assert done.returncode == 0, done.stderr
    assert (tifffile.imread(tmp_path / "twice" / "upper.tif") == upper).all()

    # Anything else than what was calibrated is refused, with what differs.
    done = imagereg("run", recipe, "-o", "refused", "--set", "input.views=0:20")
    assert done.returncode == 2
    assert "views = 24 and this run has 20" in done.stderr
    assert "Traceback" not in done.stderr


def test_generated_pairs_say_so_and_need_no_truth(imagereg: Call, pairs: Path, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, pairs / "measured" / "scan0.npz")
    done = imagereg("calibrate", recipe, "--generate", "9", "-o", "made.json")
    assert done.returncode == 0, done.stderr
    assert "(generated phantoms)" in done.stdout
    made = json.loads((tmp_path / "made.json").read_text())
    assert made["truth"] == "generated"
    assert made["n"] == 9
    done = imagereg("run", recipe, "--set", "uncertainty.calibration=made.json")
    assert done.returncode == 0, done.stderr
    account = json.loads((tmp_path / "out" / "provenance.json").read_text())["uncertainty"]
    assert account["guarantee"].endswith("(generated phantoms)")


def test_too_few_pairs_and_wrong_words_are_told_before_the_work(
    imagereg: Call, pairs: Path, tmp_path: Path
) -> None:
    recipe = recipe_in(tmp_path, pairs / "measured" / "scan0.npz")
    for words, said in (
        (("--pairs", pairs, "--guarantee", "rcps"), "10 calibration images are too few for rcps"),
        (("--generate", "3"), "at least 9 are needed"),
        (("--pairs", tmp_path), "put pairs of equal names into"),
        (("--pairs", pairs, "--guarantee", "rcsp"), "did you mean 'rcps'?"),
        (("--pairs", pairs, "--shifted", pairs / "measured"), "give at least 21 pairs"),
        (("--pairs", pairs, "--shifted", tmp_path / "nowhere"), "there are no measurements"),
        (("--pairs", pairs, "--shifted", pairs, "--guarantee", "rcps"), "leave out --guarantee"),
        ((), "one of --pairs FOLDER, --generate N and --held-out"),
    ):
        done = imagereg("calibrate", recipe, *words)
        assert done.returncode in (2, 3)
        assert said in done.stderr, done.stderr
    assert not (tmp_path / "calibration-runs").exists()


def test_held_out_views_tell_the_coverage_without_a_truth(
    imagereg: Call, pairs: Path, tmp_path: Path
) -> None:
    recipe = recipe_in(tmp_path, pairs / "measured" / "scan0.npz")
    done = imagereg("calibrate", recipe, "--held-out", "--folds", "4", "--used", "2", "-o", "views.json")
    assert done.returncode == 0, done.stderr
    assert "nominal 90%" in done.stdout
    found = json.loads((tmp_path / "views.json").read_text())
    assert found["views"] == 12
    assert found["data"] == 12 * 32
    covered = list(found["coverage"].values())
    assert covered == sorted(covered)
    assert all(c >= a for c, a in zip(covered, found["without_spread"].values(), strict=True))
    assert (tmp_path / "views.png").exists()


def test_the_factor_follows_measurements_of_another_kind(imagereg: Call, tmp_path: Path) -> None:
    for seed in range(24):
        write_scan(tmp_path / "pairs", f"scan{seed:02d}", seed, attenuation=0.15 + 0.005 * seed)
    for seed in range(100, 112):
        write_scan(tmp_path / "dense", f"scan{seed}", seed, attenuation=0.28)
    recipe = recipe_in(tmp_path, tmp_path / "dense" / "measured" / "scan100.npz", runs=8)
    words = ("calibrate", recipe, "--pairs", tmp_path / "pairs", "--shifted", tmp_path / "dense" / "measured")
    done = imagereg(*words, "--json")
    assert done.returncode == 0, done.stderr
    calibration = json.loads((tmp_path / "calibration.json").read_text())
    assert calibration["rule"] == "lr_qr"
    assert calibration["n"] == 24
    factors = {}
    recipe_in(tmp_path, tmp_path / "nowhere.npz", runs=8, calibration="calibration.json")
    for name in ("scan100", "scan105"):
        source = tmp_path / "dense" / "measured" / f"{name}.npz"
        done = imagereg("run", recipe, "-o", name, "--set", f"input.path={source}")
        assert done.returncode == 0, done.stderr
        account = json.loads((tmp_path / name / "provenance.json").read_text())["uncertainty"]
        assert account["calibrated"] is True
        factors[name] = account["factor"]
        truth = np.load(tmp_path / "dense" / "truth" / f"{name}.npy")
        lower, upper = (tifffile.imread(tmp_path / name / f"{end}.tif") for end in ("lower", "upper"))
        assert ((truth >= lower) & (truth <= upper)).mean() > 0.8
    assert factors["scan100"] != factors["scan105"]
    assert min(factors.values()) > 0
