"""Presets: parameters of a method that were learned or chosen, in a file that recipes name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from imagereg import yaml_text
from imagereg.errors import InputError, UsageError, did_you_mean
from imagereg.io.atomic import replacing

OWN = "IMAGEREG_PRESETS"
"""Environment variable that names the folder of one's own presets."""

_SHIPPED = (Path(__file__).parent / "_data" / "presets", Path(__file__).parents[1] / "data" / "presets")


@dataclass(frozen=True)
class Preset:
    """Parameters of one method and where they came from.

    Parameters
    ----------
    method : name of the method that they are for.
    parameters : parameter to value; paths are absolute once read.
    learned : plain values that say by what and from what they were learned.
    """

    method: str
    parameters: Mapping[str, Any]
    learned: Mapping[str, Any] = field(default_factory=dict)

    def to_yaml(self) -> str:
        """The preset as YAML text."""
        plain = {
            "method": self.method,
            "parameters": dict(self.parameters),
            "learned": dict(self.learned),
        }
        head = f"# a preset: use it in a recipe as  method: {{name: {self.method}, preset: PATH}}\n"
        return head + yaml_text.dump(plain)


def own_folder() -> Path:
    """The folder of the user's own presets; IMAGEREG_PRESETS names another one."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get(OWN) or Path(config) / "imagereg" / "presets")


def presets_for(method: str) -> dict[str, str]:
    """What a recipe may name as preset of a method, by the words to show: the shipped ones, then one's own.

    Shipped presets are named by their name and one's own by their path, so that a recipe says which it means.
    Files that are no presets are passed over.
    """
    found: dict[str, str] = {}
    for folder, own in ((_SHIPPED[0], False), (_SHIPPED[1], False), (own_folder(), True)):
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            try:
                load_preset(str(path), method=method)
            except (InputError, UsageError):
                continue
            words = path.stem.removeprefix(f"{method}_").replace("_", " ")
            found[words] = str(path) if own else path.stem
    return found


def save_preset(name: str, preset: Preset) -> Path:
    """Keep a preset among one's own; one of the same name is replaced.

    Raises
    ------
    UsageError
        When the name makes no file name.
    InputError
        When the file cannot be written.
    """
    stem = "_".join(name.split())
    if not re.fullmatch(r"[\w.+-]+", stem) or stem.startswith("."):
        raise UsageError(f"preset {name!r}: write letters, digits, blanks and - only.")
    stem = stem if stem.startswith(f"{preset.method}_") else f"{preset.method}_{stem}"
    path = own_folder() / f"{stem}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write the preset {path}: {error.strerror or error}.") from None
    with replacing(path, overwrite=True) as partial:
        partial.write_text(preset.to_yaml(), encoding="utf-8")
    return path


def is_path(name: str) -> bool:
    """True where a preset is named by a path rather than by a shipped name."""
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def find_preset(name: str) -> Path:
    """The file of a preset: a path, or the name of one that the package ships.

    Raises
    ------
    UsageError
        When there is none of that name.
    """
    if is_path(name):
        return Path(name)
    shipped = {path.stem: path for folder in _SHIPPED for path in sorted(folder.glob("*.yaml"))}
    if name not in shipped:
        hint = did_you_mean(name, shipped) or "; none is shipped"
        raise UsageError(f"preset {name!r}: no such preset{hint}; give a path to a .yaml file.")
    return shipped[name]


def shipped_file(name: str) -> Path:
    """A file that the package ships beside its presets.

    Raises
    ------
    InputError
        When it is not there.
    """
    for folder in _SHIPPED:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{name} is not among the files that this installation ships; give a path.")


def load_preset(name: str, *, method: str) -> Preset:
    """Read a preset and check that it is for `method`.

    Parameters
    ----------
    name : a path to a .yaml file, or a shipped name.

    Raises
    ------
    InputError
        When the file cannot be read.
    UsageError
        When it is no preset, or one for another method.
    """
    path = find_preset(name)
    try:
        values = yaml_text.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read the preset {path}: {getattr(error, 'strerror', None) or error}."
        ) from None
    except yaml.YAMLError:
        raise UsageError(f"the preset {path} is not valid YAML.") from None
    if (
        not isinstance(values, Mapping)
        or not isinstance(values.get("parameters"), Mapping)
        or not isinstance(values.get("method"), str)
    ):
        raise UsageError(f"{path} is no preset: it needs `method` and `parameters`.")
    if values["method"] != method:
        raise UsageError(f"{path} is a preset for {values['method']} and the recipe's method is {method}.")
    parameters = {key: _anchored(value, path.parent) for key, value in values["parameters"].items()}
    return Preset(method, parameters, values.get("learned") or {})


def _anchored(value: Any, folder: Path) -> Any:
    """Names of files that lie beside the preset, as absolute paths."""
    if isinstance(value, str) and not Path(value).is_absolute() and (folder / value).is_file():
        return str((folder / value).resolve())
    return value
