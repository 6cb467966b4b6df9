"""Preferences of the plugin, as napari keeps them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Settings:
    """Device of previews and runs, threads and largest size of previews, and where made files are kept."""

    device: str = "auto"
    threads: int = 0
    preview_size: int = 1024
    cache: str = ""

    def cache_folder(self) -> Path:
        """The folder for files that the plugin makes itself; a new temporary one where none is preferred."""
        if not self.cache:
            return Path(tempfile.mkdtemp(prefix="imagereg-"))
        folder = Path(self.cache).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @classmethod
    def load(cls) -> Self:
        """The preferences of this user, defaults where napari keeps none."""
        try:
            from napari.settings import get_plugin_settings
        except ImportError:
            return cls()
        try:
            # The first name is the distribution's, the second that of the manifest's group of settings.
            kept: Any = get_plugin_settings("imagereg").imagereg
        except (KeyError, ValueError, AttributeError):
            return cls()
        found = {}
        for name in cls.__dataclass_fields__:
            value = getattr(kept, name, None)
            if value is not None:
                found[name] = value
        return cls(**found)
