"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import tifffile
import yaml

if TYPE_CHECKING:
    from conftest import Call


def test_help_is_quick_and_loads_nothing_heavy(imagereg: Call) -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = imagereg("--help")
        times.append(time.perf_counter() - began)
    assert done.returncode == 0
    for command in ("init", "check", "run", "center", "info", "list", "schema", "doctor", "compare", "demo"):
        assert command in done.stdout
    assert min(times) < 1.5  # 0.25 s on a quiet machine; torch alone would take 3


@pytest.mark.parametrize("command", ["run", "check", "sweep", "choose"])
def test_help_shows_the_flags_of_the_method_that_is_named(imagereg: Call, command: str) -> None:
    from imagereg.methods.registry import methods

    done = imagereg(command, "--method", "tv", "--help")
    assert done.returncode == 0
    for name, field in methods()["tv"].model_fields.items():
        assert f"--{name} " in done.stdout
        assert str(field.description) in done.stdout
    assert "--isotropic" not in imagereg(command, "--help").stdout
    wrong = imagereg(command, "--method", "tvv", "--help")
    assert wrong.returncode == 2
    assert "did you mean 'tv'" in wrong.stderr


def test_run_from_raw_counts_leaves_everything_beside_the_image(
    imagereg: Call, scan: Path, tmp_path: Path
) -> None:
    words = ("run", scan, "--method", "tv", "--set", "strength=0.02", "--iterations", "40", "-o", "out/")
    done = imagereg(*words, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {
        "image.ome.zarr", "image.tif", "preview.png", "recipe.yaml", "provenance.json", "history.csv",
    }  # fmt: skip
    account = json.loads((out / "provenance.json").read_text())
    assert {"method", "centre_of_rotation", "seconds", "metrics", "versions", "input"} <= set(account)
    assert account["method"] == "tv"
    assert account["parameters"]["strength"] == 0.02
    assert account["parameters"]["iterations"] == 40
    assert account["certificate"]["adjoint_error"] < 1e-6
    assert len(account["input"]["sha256"]) == 64
    image = tifffile.imread(out / "image.tif")
    assert image.shape == (3, 96, 96)
    assert np.isfinite(image).all()
    assert "column" in done.stdout

    # The recipe beside the image makes it again, exactly, without touching the first one. It says how many
    # threads there were, whatever the environment says then: they round sums.
    assert yaml.safe_load((out / "recipe.yaml").read_text())["execution"]["threads"] == 1
    before = (out / "image.tif").read_bytes()
    again = imagereg("run", "out/recipe.yaml", OMP_NUM_THREADS="2")
    assert again.returncode == 0, again.stderr
    assert (out / "image.tif").read_bytes() == before
    assert np.array_equal(tifffile.imread(tmp_path / "out-2" / "image.tif"), image)
    assert json.loads((tmp_path / "out-2" / "provenance.json").read_text())["device"]["threads"] == 1


def test_json_lines_tell_another_program_what_happens(imagereg: Call, scan: Path) -> None:
    done = imagereg("run", scan, "-m", "fbp", "--json", "-o", "out")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "read"
    assert kinds[-1] == "done"
    assert "reconstruct" in kinds
    assert "residual" in events[-1]["metrics"]


def test_slabs_give_the_same_image_as_one_piece(imagereg: Call, scan: Path, tmp_path: Path) -> None:
    words = ("run", scan, "-m", "sirt", "--iterations", "5", "--set", "output.formats=[npy]")
    assert imagereg(*words, "-o", "one").returncode == 0
    assert imagereg(*words, "-o", "many", "--set", "execution.slab=1").returncode == 0
    one, many = (np.load(tmp_path / name / "image.npy") for name in ("one", "many"))
    assert one.shape == many.shape
    assert np.allclose(one, many, rtol=1e-4, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_breaks_nothing_and_goes_on(
    imagereg: Call, scan: Path, tmp_path: Path, kill: signal.Signals
) -> None:
    words = [
        "run", str(scan), "-m", "sirt", "--set", "iterations=400", "--set", "execution.slab=1",
        "--set", "output.formats=[npy]", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "imagereg", *words, "-o", "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stdout is not None
    for line in process.stdout:
        assert json.loads(line)["event"] != "write", "the run was over before a slab was seen on disk"
        if (tmp_path / "out" / ".partial" / "slab-00000.json").exists():
            process.send_signal(kill)
            break
    process.stdout.read()
    code = process.wait(timeout=60)
    assert code == (130 if kill == signal.SIGINT else -kill)
    assert not (tmp_path / "out" / "image.npy").exists()
    again = imagereg(*words, "-o", "out")
    assert again.returncode == 0, again.stderr
    plan = next(e for e in map(json.loads, again.stdout.splitlines()) if e["event"] == "plan")
    assert plan["resumed"] >= 1
    assert imagereg(*words, "-o", "whole").returncode == 0
    assert np.array_equal(np.load(tmp_path / "out" / "image.npy"), np.load(tmp_path / "whole" / "image.npy"))
    assert not (tmp_path / "out" / ".partial").exists()


def test_init_writes_a_commented_recipe_that_check_and_run_take(
    imagereg: Call, scan: Path, tmp_path: Path
) -> None:
    assert imagereg("init", scan, "--method", "tv").returncode == 0
    text = (tmp_path / "recipe.yaml").read_text()
    assert "# " in text
    assert yaml.safe_load(text)["method"]["name"] == "tv"
    again = imagereg("init", scan)
    assert again.returncode == 2
    assert "exists" in again.stderr
    checked = imagereg("check", "recipe.yaml", "--json")
    assert checked.returncode == 0, checked.stderr
    report = json.loads(checked.stdout)
    assert report["memory"] > 0
    assert report["estimated_seconds"] > 0
    done = imagereg("run", "recipe.yaml", "--iterations", "3")
    assert done.returncode == 0, done.stderr


def test_center_info_list_schema_doctor_answer(imagereg: Call, scan: Path) -> None:
    with h5py.File(scan) as file:
        assert file["exchange/data"].shape == (60, 3, 96)
    centre = imagereg("center", scan, "--json", "-o", "centre.png")
    assert centre.returncode == 0, centre.stderr
    found = json.loads(centre.stdout)
    low, high = found["interval"]
    assert low <= found["centre_of_rotation"] <= high
    info = imagereg("info", scan)
    assert "counts" in info.stdout
    assert "60 x 3 x 96" in info.stdout
    facts = json.loads(imagereg("info", scan, "--json").stdout)
    assert facts["quantity"] == "counts"
    listed = imagereg("list")
    for method in ("fbp", "fdk", "sirt", "cgls", "tikhonov", "tv", "wavelet", "pnp"):
        assert method in listed.stdout
    card = imagereg("list", "tv")
    assert "--strength" in card.stdout
    for group in ("steps", "readers", "phantoms", "samples"):
        assert imagereg("list", group).returncode == 0
    assert json.loads(imagereg("schema").stdout)["title"] == "imagereg recipe"
    assert "torch" in imagereg("doctor").stdout


def test_compare_measures_and_draws(imagereg: Call, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.random((32, 32)).astype(np.float32)
    for name, noise in (("a", 0.1), ("b", 0.2), ("t", 0.0)):
        np.save(tmp_path / f"{name}.npy", truth + noise * random.standard_normal((32, 32)).astype(np.float32))
    done = imagereg("compare", "a.npy", "b.npy", "--truth", "t.npy", "-o", "c.png", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["a.npy"]["psnr"] > report["b.npy"]["psnr"]
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    np.save(tmp_path / "d.npy", truth[:16])
    other = imagereg("compare", "a.npy", "d.npy")
    assert other.returncode == 2
    assert "differ in shape" in other.stderr


def test_an_image_is_denoised_from_the_command_line(imagereg: Call, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = np.kron(random.random((4, 4)), np.ones((16, 16))).astype(np.float32)
    noisy = truth + 0.1 * random.standard_normal(truth.shape).astype(np.float32)
    tifffile.imwrite(tmp_path / "noisy.tif", noisy)
    done = imagereg("run", "noisy.tif", "-m", "tv", "-o", "out")
    assert done.returncode == 0, done.stderr
    clean = tifffile.imread(tmp_path / "out" / "image.tif")
    assert clean.shape == noisy.shape
    assert np.linalg.norm(clean - truth) < 0.5 * np.linalg.norm(noisy - truth)


def test_one_row_of_a_detector_is_a_stack_of_one_slice(imagereg: Call, scan: Path, tmp_path: Path) -> None:
    done = imagereg("run", scan, "--step", "flatfield", "--rows", "1", "-o", "one")
    assert done.returncode == 0, done.stderr
    import tifffile

    assert tifffile.imread(tmp_path / "one" / "image.tif").shape[-2:] == (96, 96)
    assert (tmp_path / "one" / "image.ome.zarr").is_dir()
