"""Wheels carry `data/presets` and `data/weights` as `imagereg/_data`; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithData(build_py):
    """Copies the data beside the modules, except in editable installs, which find them in the checkout."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if self.editable_mode:
            return
        for room in ("presets", "weights"):
            target = Path(self.build_lib) / "imagereg" / "_data" / room
            shutil.copytree(Path(__file__).parent / "data" / room, target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithData})
