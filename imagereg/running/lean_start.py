"""Quick starts: torchvision without its own networks, which nothing here uses, until they are asked for."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = "torchvision"
_LATER = ("models", "ops")


def start_lean() -> None:
    """Let the first import of torchvision leave `torchvision.models` and `torchvision.ops` for later.

    deepinv imports torchvision for its transforms, and torchvision its networks for object detection, which
    bring torch's compiler: half of the time in which a run starts. Both parts are loaded when something asks
    for them. For a process whose work is ours; call it before torchvision is imported.
    """
    if _PACKAGE not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds torchvision as the others do, once, and puts its loader into ours."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _PACKAGE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is not None and spec.loader is not None:
            spec.loader = _LeanLoader(spec.loader)
        return spec


class _LeanLoader(Loader):
    """Loads torchvision with stand-ins in the place of what is left for later, and takes them away again."""

    def __init__(self, whole: Loader) -> None:
        self._whole = whole

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._whole.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        stand_ins = {name: _StandIn(f"{_PACKAGE}.{name}") for name in _LATER}
        sys.modules.update({stand_in.__name__: stand_in for stand_in in stand_ins.values()})
        try:
            self._whole.exec_module(module)
        finally:
            for name, stand_in in stand_ins.items():
                stand_in.leave()
                if vars(module).get(name) is stand_in:
                    delattr(module, name)

        def later(name: str) -> Any:
            if name in _LATER:
                return importlib.import_module(f"{_PACKAGE}.{name}")
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")

        module.__getattr__ = later  # type: ignore[method-assign]
        module.__loader__ = self._whole  # whoever looks for the package's files asks its own loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._whole


class _StandIn(ModuleType):
    """A module that is loaded as soon as torchvision's other parts want something of it."""

    def leave(self) -> None:
        """Make room for the real one."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        # Searches through all modules (inspect.getmodule) ask each for its file: no reason to load it.
        if name.startswith("__"):
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)
