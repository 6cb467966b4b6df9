"""What is done of an unfinished run: slabs on disk, each with its record, so that a killed job resumes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from imagereg.errors import UsageError
from imagereg.io import write
from imagereg.io.atomic import replacing
from imagereg.io.complaints import writing
from imagereg.io.volume_writer import plain

PARTIAL = ".partial"
FINISHED = "provenance.json"


@dataclass(frozen=True)
class Record:
    """What is to be said of a finished slab.

    Attributes
    ----------
    rows : figures of some of its states, the last one included.
    account : the account of the whole run as far as this slab can give it; empty for all but the last.
    """

    rows: tuple[Mapping[str, float], ...]
    account: Mapping[str, Any]


@dataclass(frozen=True)
class Ledger:
    """The `.partial` folder of an output folder.

    Finished slabs are .npy files written under another name and renamed; after that each gets a record of
    its own with its hash, so that what has a record is whole, and several processes may add to one folder.
    """

    folder: Path
    identity: Mapping[str, Any]

    @property
    def partial(self) -> Path:
        """The folder of unfinished things."""
        return self.folder / PARTIAL

    def open(self, names: tuple[str, ...], *, overwrite: bool) -> set[int]:
        """Start, or go on with an unfinished run of the same recipe.

        Returns the indices of the slabs that are done already; a damaged one is none of them.

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
            self._write({"identity": dict(self.identity)})
            return set()
        self.check(manifest)
        return set(self._whole())

    def check(self, manifest: Mapping[str, Any] | None = None) -> None:
        """Refuse to add to what another recipe or input began.

        Raises
        ------
        UsageError
            When the unfinished run here is not this one, or there is none.
        """
        manifest = manifest or self._read()
        if manifest is None or manifest["identity"] != dict(self.identity):
            raise UsageError(
                f"{self.partial} holds an unfinished run of another recipe or input; remove that folder, or "
                "choose another output with -o."
            )

    def store(
        self,
        index: int,
        slab: NDArray[Any],
        record: Record,
        beside: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Keep a finished slab, the images beside it by name, and what is to be said of it."""
        images = {**(beside or {}), "": slab}
        for name, image in images.items():
            write(image, self._slab(index, name), overwrite=True)
        hashes = {name: _digest(image) for name, image in images.items()}
        text = json.dumps({**plain(asdict(record)), "blake2b": hashes})
        write_beside(self._record(index), lambda stream: stream.write(text.encode()))

    def record(self, index: int) -> Record:
        """What was kept with a finished slab."""
        kept = json.loads(self._record(index).read_text(encoding="utf-8"))
        return Record(tuple(kept["rows"]), kept["account"])

    def slab(self, index: int, name: str = "") -> NDArray[Any]:
        """A finished slab, or the image of that name beside it."""
        array: NDArray[Any] = np.load(self._slab(index, name), mmap_mode="r")
        return array

    def beside(self, index: int, names: tuple[str, ...]) -> tuple[str, ...]:
        """Which of the names lie beside a finished slab."""
        return tuple(name for name in names if self._slab(index, name).is_file())

    def finish(self, names: tuple[str, ...]) -> None:
        """Move what was written in `.partial` into the folder, the provenance last, and tidy up."""
        self._write({"identity": dict(self.identity), "moving": True})
        for name in sorted(names, key=lambda name: name == FINISHED):
            made, target = self.partial / name, self.folder / name
            if target.is_dir():
                shutil.rmtree(target)
            if made.exists():
                made.replace(target)
            else:  # of an earlier run that may be replaced: it does not belong to this image
                target.unlink(missing_ok=True)
        shutil.rmtree(self.partial)

    def abandon(self) -> None:
        """Leave nothing behind of a run that has no finished slab."""
        if self.partial.is_dir() and not any(self.partial.glob("slab-*.json")):
            shutil.rmtree(self.partial, ignore_errors=True)
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def _moving(self) -> bool:
        return bool((self._read() or {}).get("moving"))

    def _slab(self, index: int, name: str = "") -> Path:
        return self.partial / f"slab-{index:05d}{'-' if name else ''}{name}.npy"

    def _record(self, index: int) -> Path:
        return self._slab(index).with_suffix(".json")

    def _whole(self) -> Iterator[int]:
        """Index of each slab that still is what was written."""
        for path in sorted(self.partial.glob("slab-*.json")):
            index = int(path.stem.partition("-")[2])
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if all(_digest(self.slab(index, name)) == hash for name, hash in record["blake2b"].items()):
                    yield index
            except (OSError, ValueError, KeyError, AttributeError):
                continue

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


def _digest(slab: NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(slab).data, digest_size=16).hexdigest()


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
