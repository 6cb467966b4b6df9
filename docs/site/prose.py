"""Docstrings of the project as Markdown."""

from __future__ import annotations

import inspect
import re
from html import escape
from typing import Any

SECTION = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.M)
LINK = re.compile(r"(?P<doi>\b10\.\d{4,9}/[^\s;,]+[^\s;,.)])|(?P<arxiv>(?<=arXiv[ :])\d{4}\.\d{4,5})")


def text(written: str) -> str:
    """Plain text as Markdown: nothing in it is markup but `code`, and indented blocks are formulas."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(written))
    return "\n\n".join(_block(block) for block in blocks)


def line(written: str) -> str:
    """The same of one line, for a cell of a table."""
    return _plain(" ".join(written.split())).replace("|", "\\|")


def linked(written: str) -> str:
    """A reference with its DOI and arXiv numbers as links."""

    def link(found: re.Match[str]) -> str:
        if found["doi"]:
            return f"[{found['doi']}](https://doi.org/{found['doi'].replace('(', '%28').replace(')', '%29')})"
        return f"[{found['arxiv']}](https://arxiv.org/abs/{found['arxiv']})"

    return LINK.sub(link, " ".join(written.split()))


def docstring(thing: Any) -> str:
    """A docstring with its sections as headings in bold and its parameters as a list of definitions."""
    parts = SECTION.split(inspect.cleandoc(thing.__doc__ or ""))
    out = [text(parts[0])]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        out += [f"**{title}**", _definitions(body)]
    return "\n\n".join(part for part in out if part.strip())


def _definitions(body: str) -> str:
    """`name : what` entries, or exceptions with an indented sentence, as a list; text as it is."""
    items: list[list[str]] = []
    for written in inspect.cleandoc(body).splitlines():
        if written.startswith(" ") and items:
            items[-1].append(written.strip())
        elif written.strip():
            items.append([written.strip()])
    out = []
    for first, *more in items:
        name, sign, rest = first.partition(" : ")
        bare = re.fullmatch(r"[A-Za-z_., *]+", name) is not None
        if sign and bare:
            out.append(f"`{name}`\n:   {_plain(' '.join([rest, *more]))}")
        elif more and re.fullmatch(r"[A-Za-z]+", first):
            out.append(f"`{first}`\n:   {_plain(' '.join(more))}")
        else:
            return text(body)
    return "\n\n".join(out)


def _block(block: str) -> str:
    lines = block.splitlines()
    if all(written.startswith("    ") for written in lines):
        return "```text\n" + inspect.cleandoc("\n" + block) + "\n```"
    if any("   " in written.strip() for written in lines):
        return "```text\n" + block + "\n```"  # columns that somebody aligned
    return _plain(" ".join(block.split()))


def _plain(written: str) -> str:
    """Escape what Markdown would take for markup, outside of `code`."""
    pieces = written.split("`")
    for index in range(0, len(pieces), 2):
        pieces[index] = re.sub(r"([\\*_\[\]#])", r"\\\1", escape(pieces[index], quote=False))
    return "`".join(pieces)
