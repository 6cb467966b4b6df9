"""The registry of samples; nothing here touches the network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pooch
import pytest

from imagereg import samples
from imagereg.errors import InputError, UsageError
from imagereg.phantoms import PHANTOMS


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> samples.Sample:
    """A registered sample of our own, its file not in the mirror yet."""
    content = b"0,1\n2,3\n"
    sample = samples.Sample(
        "mine", "a small table", "CC0-1.0", file="folder/mine.csv", url="https://example.invalid/mine.csv",
        sha256=hashlib.sha256(content).hexdigest(), size=len(content),
    )  # fmt: skip
    monkeypatch.setattr(samples, "SAMPLES", MappingProxyType({**samples.SAMPLES, "mine": sample}))
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.delenv(samples.MIRROR, raising=False)
    return sample


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Sets what the network answers: bytes, or an exception."""

    def answer(content: Any) -> None:
        def download(url: str, output: Any, *_: Any, **__: Any) -> None:
            if isinstance(content, Exception):
                raise content
            Path(output).write_bytes(content)

        monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: download)

    return answer


def test_every_sample_is_fully_described() -> None:
    for name, sample in samples.SAMPLES.items():
        assert sample.name == name
        assert sample.description
        assert sample.licence
        assert not sample.description.endswith(".")
        if sample.kind != "generated":
            assert len(sample.sha256) == 64
            assert sample.size > 0
            assert sample.file
            assert sample.url.startswith("https://") or not sample.url
    assert set(PHANTOMS) <= set(samples.SAMPLES)
    with pytest.raises(UsageError, match="did you mean 'tooth'"):
        samples.fetch("toth")


def test_mirrors_by_argument_and_setting(
    mine: samples.Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat, nested = tmp_path / "flat", tmp_path / "nested"
    for place in (flat / "mine.csv", nested / "folder" / "mine.csv"):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"0,1\n2,3\n")
        assert samples.fetch("mine", mirror=flat if place.parent == flat else nested) == place
    monkeypatch.setenv(samples.MIRROR, str(flat))
    assert samples.fetch("mine").parent == flat
    (flat / "mine.csv").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"not the registered file of the sample mine"):
        samples.fetch("mine")
    with pytest.raises(InputError, match="no such folder"):
        samples.fetch("mine", mirror=tmp_path / "none")


def test_downloads_are_checked_and_kept(
    mine: samples.Sample, server: Callable[[Any], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server(b"forged")
    with pytest.raises(InputError, match=r"sample mine cannot be fetched .*IMAGEREG_SAMPLES_MIRROR"):
        samples.fetch("mine")
    server(b"0,1\n2,3\n")
    path = samples.fetch("mine", mirror=tmp_path)
    assert path.parent == tmp_path / "cache"
    server(ConnectionError("no network"))
    assert samples.fetch("mine") == path
    assert capsys.readouterr().out == ""


def test_without_a_network_the_sentence_says_what_to_do(
    mine: samples.Sample, server: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server(ConnectionError("no network"))
    with pytest.raises(InputError, match=r"\(no network\); put its file folder/mine.csv into a folder"):
        samples.fetch("mine")
    monkeypatch.setattr(samples, "SAMPLES", {"mine": replace(mine, url="")})
    with pytest.raises(InputError, match="has no address of its own"):
        samples.fetch("mine")


def test_what_needs_no_network() -> None:
    slice_ = samples.load("ct_slice")
    assert slice_.data.shape == (128, 128)
    assert any("Hounsfield" in note for note in slice_.notes)
    for name in PHANTOMS:
        image = samples.load(name, size=24)
        assert set(image.data.shape) == {24}
        assert image.quantity == "image"
        assert float(np.ptp(image.data)) > 0
    assert not np.array_equal(samples.load("foam", size=24, seed=1).data, samples.load("foam", size=24).data)
    with pytest.raises(UsageError, match=r"load\('foam'\)"):
        samples.fetch("foam")
