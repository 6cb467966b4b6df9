"""`imagereg train` and `imagereg models`, killed and resumed as users do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from safetensors.numpy import load_file

if TYPE_CHECKING:
    from conftest import Call

COMMON = ["--set", "noisy=true", "--set", "crop=16", "--batch", "1", "--threads", "1"]


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """A TIFF stack of two noisy images."""
    path = tmp_path / "noisy.tif"
    ramp = np.linspace(0, 1, 40)[None, :, None] * np.ones((2, 40, 40))
    tifffile.imwrite(path, (ramp + 0.1 * np.random.default_rng(0).standard_normal(ramp.shape)).astype("f4"))
    return path


def test_a_training_killed_at_any_moment_ends_as_an_unbroken_one(
    imagereg: Call, tmp_path: Path, noisy: Path
) -> None:
    words = ["train", "noise2score", "--data", noisy, "--steps", "60", *COMMON, "--json"]
    whole = imagereg(*words, "--out", "whole.safetensors")
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "imagereg", *map(str, words), "--out", "broken.safetensors"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, env={**os.environ})
    checkpoint = tmp_path / "broken.checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "broken.safetensors").exists()
    resumed = imagereg(*words, "--out", "broken.safetensors")
    assert resumed.returncode == 0, resumed.stderr
    first = json.loads(resumed.stdout.splitlines()[0])
    assert first["step"] > 1
    losses = [json.loads(done.stdout.splitlines()[-2])["loss"] for done in (whole, resumed)]
    assert abs(losses[0] - losses[1]) < 1e-6
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "broken"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not checkpoint.exists()
    known = ["--set", "noise=gaussian", "--set", "level=0.1", "--set", "weights=whole.safetensors"]
    used = imagereg("run", noisy, "-m", "noise2score", *known, "-o", "out")
    assert used.returncode == 0, used.stderr
    card = json.loads((tmp_path / "whole.json").read_text())
    assert card["data"] == "noisy.tif"
    assert card["licence"].startswith("unknown")
    assert card["command"].startswith("imagereg train noise2score --data noisy.tif")
    refused = imagereg(*words, "--out", "whole.safetensors")
    assert refused.returncode != 0
    assert "exists" in refused.stderr


def test_models_lists_what_is_shipped_with_its_card(imagereg: Call) -> None:
    done = imagereg("models")
    assert done.returncode == 0
    assert "learned_fbp" in done.stdout
    assert "noise2score" in done.stdout
    card = json.loads(imagereg("models", "learned_fbp", "--json").stdout)
    assert card["method"] == "learned_fbp"
    assert card["licence"]
    assert card["parameters"] > 1e5
    trainable = imagereg("models", "--trainable")
    assert "U-Net" in trainable.stdout


def test_mistakes_are_said_in_one_sentence(imagereg: Call, tmp_path: Path) -> None:
    for words, said in (
        (["train", "noise2scor"], "did you mean 'noise2score'"),
        (["train", "noise2score", "--set", "corp=3"], "did you mean 'crop'"),
        (["train", "noise2score", "--data", tmp_path / "none"], "no such file"),
        (["train", "noise2score", "--out", "net.pth"], "end with .safetensors"),
        (["models", "nothing"], "none are called so"),
    ):
        done = imagereg(*words)
        assert done.returncode != 0
        assert said in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_every_shipped_network_is_small_enough_and_has_a_full_card() -> None:
    from imagereg.networks.store import cards, find_weights, load_network

    total = 0
    for name, card in cards().items():
        size = find_weights(name).stat().st_size
        total += size
        assert size <= 8e6
        assert card.data
        assert card.licence
        assert card.command
        network, _ = load_network(name)
        assert sum(weight.numel() for weight in network.parameters()) == card.parameters
    assert total <= 40e6
    licences = {}
    for card in cards().values():
        licences.setdefault(card.method, []).append("non-commercial" not in card.licence)
    assert all(any(free) for free in licences.values())
