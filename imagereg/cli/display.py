"""How a run shows itself: a bar on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import collections
import json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagereg.running.events import Event


def follow(events: Iterable[Event], *, as_json: bool = False, quiet: bool = False) -> Event:
    """Show events as they come and return the last one."""
    if as_json:
        return _json(events)
    if quiet:
        return _last(events)
    return _bar(events) if sys.stdout.isatty() else _lines(events)


def _last(events: Iterable[Event]) -> Event:
    last = collections.deque(events, maxlen=1)
    return last[0]


def _json(events: Iterable[Event], every: float = 0.1, look: float = 1.0) -> Event:
    """JSON lines; states at most ten times a second, their residual (one projection) once a second."""
    last, shown, looked = None, 0.0, 0.0
    for last in events:
        now = time.monotonic()
        state = last.state
        if state is not None and not state.finished and now - shown < every:
            continue
        shown = now
        line = last.as_dict()
        if state is not None and (state.finished or now - looked >= look):
            looked = now
            if state.residual is not None:
                line["residual"] = state.residual
        if last.result is not None:
            line["metrics"] = dict(last.result.metrics)
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        state = None  # the slab may go
    assert last is not None
    return last


def _lines(events: Iterable[Event], every: float = 5.0) -> Event:
    """One line a stage, and one every few seconds of reconstruction."""
    last, shown = None, 0.0
    for last in events:
        now = time.monotonic()
        if last.state is not None:
            if not last.state.finished and now - shown < every:
                continue
            remaining = (
                "" if last.remaining is None or last.state.finished else f", {_clock(last.remaining)} to go"
            )
            percent = "" if last.fraction is None else f" {100 * last.fraction:3.0f} %"
            sys.stdout.write(f"[{last.seconds:7.1f} s] reconstruct{percent}: {last.message}{remaining}\n")
            shown = now
        else:
            sys.stdout.write(f"[{last.seconds:7.1f} s] {last.stage}: {last.message}\n")
        sys.stdout.flush()
    assert last is not None
    return last


def _bar(events: Iterable[Event], every: float = 0.1) -> Event:
    """A bar with the time to go."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

    console = Console()
    last, shown = None, 0.0
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[eta]}"),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("starting", total=1.0, eta="")
        for last in events:
            now = time.monotonic()
            if last.state is None:
                console.print(f"[dim]{last.seconds:7.1f} s[/dim]  [bold]{last.stage}[/bold]  {last.message}")
                progress.update(task, description=last.stage)
                continue
            if last.state.finished:
                console.print(f"[dim]{last.seconds:7.1f} s[/dim]  [bold]reconstruct[/bold]  {last.message}")
            if now - shown < every and not last.state.finished:
                continue
            shown = now
            eta = "" if last.remaining is None else f"{_clock(last.remaining)} to go"
            progress.update(task, description=last.message[:60], completed=last.fraction or 0.0, eta=eta)
    assert last is not None
    return last


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
