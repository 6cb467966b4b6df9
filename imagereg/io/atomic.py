"""Outputs that are whole or not there: written under another name beside, renamed at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from imagereg.errors import InputError, ResourceError, UsageError
from imagereg.io.complaints import writing


class Replacement:
    """A file or folder in the making beside its final place.

    Parameters
    ----------
    path : where it shall be in the end.
    overwrite : allow what is there to be replaced, at the end and only then.
    needed : bytes that it will take, where known; refused at once where the disk has less.

    Raises
    ------
    UsageError
        When `path` exists and may not be replaced.
    InputError
        When its folder is missing or forbidden.
    ResourceError
        When the disk has too little room.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, needed: int = 0) -> None:
        self.path, self.overwrite = path, overwrite
        self._refuse_existing()
        parent = path.parent
        if not parent.is_dir():
            raise InputError(f"{parent}: there is no such folder to write {path.name} into; make it first.")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(f"{path}: no permission to write there; choose another folder.")
        free = shutil.disk_usage(parent).free
        if needed > free:
            raise ResourceError(
                f"{path}: takes {needed / 1e9:.3g} GB and the disk has {free / 1e9:.3g} GB left, nothing was "
                "written; free some space or write elsewhere."
            )
        # The suffix stays at the end, since libraries choose formats by it.
        self.partial = parent / f".{uuid.uuid4().hex[:12]}.{path.name}"

    def finish(self) -> Path:
        """Put what was written in its place."""
        self._refuse_existing()
        with writing(self.path):
            if self.path.is_dir() and not self.path.is_symlink():
                old = self.partial.with_name(f"{self.partial.name}.old")
                self.path.rename(old)
                try:
                    self.partial.rename(self.path)
                except OSError:
                    old.rename(self.path)
                    raise
                shutil.rmtree(old, ignore_errors=True)
            elif self.partial.is_dir():
                self.path.unlink(missing_ok=True)
                self.partial.rename(self.path)
            else:
                self.partial.replace(self.path)
        return self.path

    def discard(self) -> None:
        """Leave nothing behind."""
        if self.partial.is_dir():
            shutil.rmtree(self.partial, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                self.partial.unlink(missing_ok=True)

    def _refuse_existing(self) -> None:
        if not self.overwrite and (self.path.exists() or self.path.is_symlink()):
            raise UsageError(
                f"{self.path} exists and was left as it is; choose another name, or allow overwriting it."
            )


@contextlib.contextmanager
def replacing(path: str | Path, *, overwrite: bool = False, needed: int = 0) -> Iterator[Path]:
    """A path to write to, which becomes `path` when the block ends well and vanishes when it does not.

    Parameters and errors are those of `Replacement`; complaints of the operating system while the block
    runs become sentences.
    """
    replacement = Replacement(Path(path), overwrite=overwrite, needed=needed)
    try:
        with writing(replacement.path):
            yield replacement.partial
        replacement.finish()
    except BaseException:
        replacement.discard()
        raise
