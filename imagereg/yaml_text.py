"""YAML as people mean it: 2:4 is a range and not 124, 1e-3 is a number and not a word."""

from __future__ import annotations

import re
from typing import Any

import yaml

DEPTH = 30


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the numbers of YAML 1.2 in place of those of 1.1.

    It takes plain trees only: aliases, keys that are no text, a key that stands twice and more than 30 levels
    are errors with their line.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One value of the document, refused where it is no plain tree."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refused(f"the alias *{event.anchor} is not taken; write the value out", event.start_mark)
        if self.depth >= DEPTH:
            raise _refused(f"it is nested more than {DEPTH} levels deep", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            name = repr(key.value) if isinstance(key, yaml.ScalarNode) else "that is a list or a mapping"
            raise _refused(f"the key {name} is no text; put it in quotes", key.start_mark)
        if key.value in seen:
            raise _refused(
                f"the key {key.value!r} stands twice, first in line {seen[key.value]}; keep one",
                key.start_mark,
            )
        seen[key.value] = key.start_mark.line + 1


def _refused(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


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


class _Dumper(yaml.SafeDumper):
    """Writes a value out as often as it stands, where PyYAML would write an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def load(text: str) -> Any:
    """The value of a YAML document.

    Raises
    ------
    yaml.YAMLError
        When the text is not YAML, or no plain tree of values (see `Loader`).
    """
    try:
        return yaml.load(text, Loader=Loader)
    except ValueError as error:  # a date such as 2026-02-31, a number of thousands of digits
        raise yaml.YAMLError(str(error)) from error


def dump(values: Any) -> str:
    """Plain values as YAML, keys in the order given, nothing by alias (see `Loader`)."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


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
