"""The next piece made ready, and the last one put away, in threads while the present one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")


def ahead(items: Iterable[Item], prepare: Callable[[Item], Ready]) -> Iterator[tuple[Item, Ready]]:
    """Each item with what `prepare` makes of it, the next one prepared while the caller has the present one.

    There are at most two prepared at a time. What `prepare` raises is raised when that item's turn comes.
    """
    todo = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="imagereg-ahead")
    try:
        present = next(todo, None)
        made = None if present is None else pool.submit(prepare, present)
        while present is not None and made is not None:
            ready = made.result()
            following = next(todo, None)
            made = None if following is None else pool.submit(prepare, following)
            yield present, ready
            del ready
            present = following
    finally:
        # Whoever cancels does not wait for a piece that nobody will look at.
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def behind() -> Iterator[Callable[..., None]]:
    """`later(call, *arguments)` makes a call while the caller goes on, once the one before it is over.

    What a call raises is raised at the next one, or at the end of the block, which waits for the last.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="imagereg-behind")
    pending: list[Future[Any]] = []

    def later(call: Callable[..., Any], *arguments: Any) -> None:
        while pending:
            pending.pop().result()
        pending.append(pool.submit(call, *arguments))

    try:
        yield later
        while pending:
            pending.pop().result()
    finally:
        pool.shutdown(wait=True)
