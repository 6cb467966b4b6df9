"""The API's reference, from signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from prose import docstring, text

ROOMS = {
    "public": ("imagereg", "What `import imagereg as ir` offers"),
    "physics": ("imagereg.physics", "Physics and noise"),
    "fidelities": ("imagereg.fidelities", "Data terms"),
    "priors": ("imagereg.priors", "Priors"),
    "solvers": ("imagereg.solvers", "Solvers"),
    "choose": ("imagereg.choose.base", "Choosing parameters"),
    "preprocessing": ("imagereg.preprocessing", "Preprocessing"),
    "phantoms": ("imagereg.phantoms", "Phantoms"),
    "samples": ("imagereg.samples", "Samples"),
    "metrics": ("imagereg.metrics", "Metrics"),
    "testing": ("imagereg.testing", "Laws for plugins"),
}
MODULES = {
    "fidelities": ("base", "least_squares", "poisson", "sobolev"),
    "priors": (
        "base",
        "tv",
        "wavelet",
        "quadratic",
        "sparse",
        "graph_laplacian",
        "denoiser",
        "learned_proximal",
    ),
    "solvers": (
        "base",
        "problem",
        "stopping",
        "cgls",
        "sirt",
        "fista",
        "pdhg",
        "admm",
        "spiral",
        "mlem",
        "mmgks",
    ),
}


def navigation() -> list[dict[str, str]]:
    """Pages by title."""
    return [{title.replace("`", ""): f"reference/{page}.md"} for page, (_, title) in ROOMS.items()]


def pages() -> dict[str, str]:
    """One page a room."""
    return {f"reference/{page}.md": _page(page, *ROOMS[page]) for page in ROOMS}


def _page(page: str, name: str, title: str) -> str:
    room = importlib.import_module(name)
    parts = [f"# {title}", text(room.__doc__ or "")]
    if page not in MODULES:
        return "\n\n".join([*parts, *_things(room, name, 2)])
    for module_name in MODULES[page]:
        module = importlib.import_module(f"{name}.{module_name}")
        parts += [f"## {module.__name__}", text(module.__doc__ or ""), *_things(module, module.__name__, 3)]
    return "\n\n".join(parts)


def _things(room: Any, name: str, level: int) -> list[str]:
    listed = getattr(room, "__all__", None)
    names = listed or [key for key, value in vars(room).items() if getattr(value, "__module__", "") == name]
    parts = []
    for key in names:
        value = getattr(room, key)
        if key.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        parts += [f"{'#' * level} {key}", f"```python\n{_signature(key, value)}\n```", docstring(value)]
        if inspect.isclass(value):
            parts += _members(value)
    return parts


def _members(kind: Any) -> list[str]:
    """Own public methods and properties, each with the first paragraph of its docstring."""
    rows = []
    for key, value in vars(kind).items():
        plain = (
            getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "func", value)
        )
        if key.startswith("_") or not inspect.isfunction(plain) or not plain.__doc__:
            continue
        called = key if isinstance(value, property) or hasattr(value, "func") else _signature(key, plain)
        called = called.replace("(self, ", "(").replace("(self)", "()").replace("(cls, ", "(")
        said = text(inspect.cleandoc(plain.__doc__).split("\n\n")[0])
        rows.append(f"`{' '.join(called.split())}`\n:   {said}")
    return rows


def _signature(name: str, value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    short = _bare(f"{name}{signature}")
    if len(short) <= 88:
        return short
    inner = ",\n    ".join(_bare(str(parameter)) for parameter in signature.parameters.values())
    returned = "" if signature.return_annotation is signature.empty else f" -> {signature.return_annotation}"
    return f"{name}(\n    {inner},\n){returned}"


def _bare(signature: str) -> str:
    """Annotations as they are written, without the quotes that postponed evaluation gives them."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)
