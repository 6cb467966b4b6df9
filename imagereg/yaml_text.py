"""YAML as people mean it: 2:4 is a range and not 124, 1e-3 is a number and not a word."""

from __future__ import annotations

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the numbers of YAML 1.2 in place of those of 1.1."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def load(text: str) -> Any:
    """The value of a YAML document.

    Raises
    ------
    yaml.YAMLError
        When the text is not YAML.
    """
    return yaml.load(text, Loader=Loader)


def dump(values: Any) -> str:
    """Plain values as YAML, keys in the order given."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def lines(text: str) -> dict[str, int]:
    """Line of each dotted key of a YAML document."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                path = f"{prefix}.{key.value}" if prefix else str(key.value)
                found[path] = key.start_mark.line + 1
                walk(value, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                found[f"{prefix}.{index}"] = value.start_mark.line + 1
                walk(value, f"{prefix}.{index}")

    root = yaml.compose(text, Loader=Loader)
    if root is not None:
        walk(root, "")
    return found
