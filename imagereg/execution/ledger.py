"""What is done of an unfinished run: slabs on disk and a manifest, so that a killed job resumes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.io import write
from imagereg.io.atomic import replacing
from imagereg.io.complaints import writing

PARTIAL = ".partial"
FINISHED = "provenance.json"


@dataclass(frozen=True)
class Ledger:
    """The `.partial` folder of an output folder.

    Finished slabs are .npy files written under another name and renamed, each entered in the manifest
    after that, so that what the manifest names is whole.
    """

    folder: Path
    identity: Mapping[str, Any]

    @property
    def partial(self) -> Path:
        """The folder of unfinished things."""
        return self.folder / PARTIAL

    def open(self, names: tuple[str, ...], *, overwrite: bool) -> dict[int, dict[str, float]]:
        """Start, or go on with an unfinished run of the same recipe.

        Returns the slabs already done with the figures of their last states.

        Parameters
        ----------
        names : what the run will write into the folder.
        overwrite : allow those to be replaced at the end.

        Raises
        ------
        UsageError
            When the output exists, or an unfinished run of another recipe or input is there.
        InputError
            When the folder cannot be written.
        """
        present = [name for name in names if (self.folder / name).exists()]
        if present and not overwrite and not self._moving():
            raise UsageError(
                f"{self.folder} already holds {', '.join(present)}; nothing was changed: choose another "
                "folder with -o, or allow it with --overwrite."
            )
        with writing(self.folder):
            self.partial.mkdir(parents=True, exist_ok=True)
        manifest = self._read()
        if manifest is None:
            for stray in self.partial.iterdir():
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
            self._write({"identity": dict(self.identity), "done": {}})
            return {}
        if manifest["identity"] != dict(self.identity):
            raise UsageError(
                f"{self.partial} holds an unfinished run of another recipe or input; remove that folder, or "
                "choose another output with -o."
            )
        done = {int(index): figures for index, figures in manifest["done"].items()}
        return {index: figures for index, figures in done.items() if self._slab(index).is_file()}

    def store(self, index: int, slab: NDArray[Any], figures: Mapping[str, float]) -> None:
        """Keep a finished slab and the figures of its last state."""
        write(slab, self._slab(index), overwrite=True)
        manifest = self._read() or {"identity": dict(self.identity), "done": {}}
        manifest["done"][str(index)] = dict(figures)
        self._write(manifest)

    def slab(self, index: int) -> NDArray[Any]:
        """A finished slab."""
        array: NDArray[Any] = np.load(self._slab(index), mmap_mode="r")
        return array

    def finish(self, names: tuple[str, ...]) -> None:
        """Move what was written in `.partial` into the folder, the provenance last, and tidy up."""
        manifest = self._read() or {"identity": dict(self.identity), "done": {}}
        self._write({**manifest, "moving": True})
        for name in sorted(names, key=lambda name: name == FINISHED):
            made, target = self.partial / name, self.folder / name
            if not made.exists():
                continue
            if target.is_dir():
                shutil.rmtree(target)
            made.replace(target)
        shutil.rmtree(self.partial)

    def abandon(self) -> None:
        """Leave nothing behind of a run that has no finished slab."""
        manifest = self._read()
        if self.partial.is_dir() and not (manifest and manifest["done"]):
            shutil.rmtree(self.partial, ignore_errors=True)
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def _moving(self) -> bool:
        return bool((self._read() or {}).get("moving"))

    def _slab(self, index: int) -> Path:
        return self.partial / f"slab-{index:05d}.npy"

    def _read(self) -> dict[str, Any] | None:
        try:
            manifest: dict[str, Any] = json.loads(
                (self.partial / "manifest.json").read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            return None
        return manifest

    def _write(self, manifest: Mapping[str, Any]) -> None:
        text = json.dumps(manifest, indent=1)
        write_beside(self.partial / "manifest.json", lambda stream: stream.write(text.encode()))


def write_beside(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file under another name and rename it, so that `path` is whole or as it was.

    Raises
    ------
    ResourceError
        When the disk is full.
    InputError
        When the folder may not be written.
    """
    with replacing(path, overwrite=True) as partial, partial.open("wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
