"""Rows of a benchmark in a JSON file, written after each one, with the machine and its load."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from pathlib import Path
from typing import Any


class Kept:
    """One row for each value of a key; a new one replaces that of an earlier run.

    Parameters
    ----------
    path : the file; made where it is not there.
    key : the entry of a row that says what it is of.
    facts : of all rows, kept beside them.
    """

    def __init__(self, path: Path, key: str, **facts: Any) -> None:
        self._path, self._key = path, key
        known = json.loads(path.read_text()) if path.exists() else {}
        self.rows: list[dict[str, Any]] = known.get("rows", [])
        self._facts = {"machine": processor(), "cores": cores(), **facts}

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, its numbers to four places."""
        row = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        row["load_before"] = round(os.getloadavg()[0], 2)
        self.rows = [old for old in self.rows if old[self._key] != row[self._key]] + [row]
        self._path.write_text(json.dumps({**self._facts, "rows": self.rows}, indent=1) + "\n")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processor() -> str:
    """The name of the processor, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
