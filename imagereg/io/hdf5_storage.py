"""What lies in an HDF5 file: its datasets, each met once, and whether their values are all there."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagereg.errors import InputError
from imagereg.io import budget

_NODES = 1_000_000
_CHUNKS = 1 << 16
_DEEP = 5


def datasets(file: Any, scalars: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Every dataset of an open file with its shortest place, breadth first.

    Nodes are remembered by their address, so that hard links that cross or go round are followed once. Links
    out of the file are not followed. Single values are left out but for those of a name in `scalars`.

    Raises
    ------
    InputError
        When there are over a million nodes.
    """
    import h5py

    waiting: deque[tuple[str, Any]] = deque([("", file.id)])
    seen = {h5py.h5o.get_info(file.id).addr}
    while waiting:
        prefix, group = waiting.popleft()
        names: list[bytes] = []
        # Soft and external links lead to what has a place of its own, or out of the file.
        group.links.iterate(
            lambda name, info, names=names: names.append(name) if info.type == h5py.h5l.TYPE_HARD else None,
            info=True,
        )
        for name in names:
            known = h5py.h5o.get_info(group, name)
            if known.addr in seen:
                continue
            seen.add(known.addr)
            if len(seen) > _NODES:
                raise InputError(f"{file.filename}: holds over {_NODES} nodes; save what is needed of it.")
            place = prefix + name.decode("utf-8", "surrogateescape")
            if known.type == h5py.h5o.TYPE_GROUP:
                waiting.append((f"{place}/", h5py.h5g.open(group, name)))
            elif known.type == h5py.h5o.TYPE_DATASET:
                dataset = h5py.h5d.open(group, name)
                if dataset.rank or place.rpartition("/")[2] in scalars:
                    yield place, h5py.Dataset(dataset)


def reachable(file: Any, names: frozenset[str]) -> None:
    """Refuse a file in which a link called one of `names` leads to nothing.

    Raises
    ------
    InputError
        Where there is one; the sentence names the file or place that it leads to.
    """
    waiting = deque([("", file, 0)])
    while waiting:
        prefix, group, depth = waiting.popleft()
        for name in names & set(group):
            link = group.get(name, getlink=True)
            target = getattr(link, "filename", "") or getattr(link, "path", "")
            if target and not _opens(group, name):
                raise InputError(
                    f"{file.filename}: {prefix}{name} leads to {target}, which is not there; copy it too."
                )
        if depth < _DEEP:
            waiting.extend((f"{prefix}{name}/", child, depth + 1) for name, child in subgroups(group))


def _opens(group: Any, name: str) -> bool:
    try:
        return group[name] is not None
    except (KeyError, OSError):
        return False


def subgroups(group: Any) -> Iterator[tuple[str, Any]]:
    """The groups in a group by name, by whatever link; links that lead nowhere are left out."""
    import h5py

    for name in group:
        try:
            # Asking for the type alone is ten times as fast as opening, and there may be 20,000 numbers here.
            if (
                h5py.h5o.get_info(group.id, name.encode("utf-8", "surrogateescape")).type
                == h5py.h5o.TYPE_GROUP
            ):
                yield name, group[name]
        except (KeyError, OSError, RuntimeError):
            continue


def afford(dataset: Any) -> None:
    """Refuse a dataset whose chunks decode to far more than is stored, or are stored in far more.

    Raises
    ------
    InputError, ResourceError
        See `budget.afford`, `budget.swollen`.
    """
    if not dataset.chunks or dataset.dtype.kind not in "iufb" or not dataset.size:
        return
    path, chunk = Path(dataset.file.filename), math.prod(dataset.chunks) * dataset.dtype.itemsize
    stored, count = dataset.id.get_storage_size(), dataset.id.get_num_chunks()
    if count:
        budget.afford(path, f"a chunk of {dataset.name}", chunk, stored)
        budget.swollen(path, dataset.name, count * chunk, stored)


def absent(dataset: Any) -> str:
    """What of a dataset is not stored, in words; '' where all is there."""
    if dataset.is_virtual:
        gone = _sources_gone(dataset)
        return f"the source {', '.join(gone[:3])}" if gone else ""
    plist = dataset.id.get_create_plist()
    folder = Path(dataset.file.filename).parent
    for number in range(plist.get_external_count()):
        name = Path(plist.get_external(number)[0].decode("utf-8", "replace"))
        if not (folder / name).exists():
            return f"the file {name}, which holds the values"
    if not dataset.size or plist.get_external_count():
        return ""
    if not dataset.chunks:
        return "all" if dataset.id.get_storage_size() == 0 else ""
    count = dataset.id.get_num_chunks()
    places = math.prod(-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if count >= places:
        return ""
    if count == 0:
        return "all"
    return f"{places - count} of {places} chunks{_first_gap(dataset, count)}"


def further(dataset: Any) -> tuple[Path, ...]:
    """Files that the values of a dataset are in by external storage or as virtual sources."""
    folder = Path(dataset.file.filename).parent
    plist = dataset.id.get_create_plist()
    names = [
        plist.get_external(number)[0].decode("utf-8", "replace")
        for number in range(plist.get_external_count())
    ]
    if dataset.is_virtual:
        names += [source.file_name for source in dataset.virtual_sources() if source.file_name != "."]
    return tuple(dict.fromkeys(folder / name for name in names))


def _first_gap(dataset: Any, count: int) -> str:
    """The first index along the first axis where a chunk is missing, where that is cheaply told."""
    if count > _CHUNKS:
        return ""
    per_row = math.prod(-(-n // c) for n, c in zip(dataset.shape[1:], dataset.chunks[1:], strict=True))
    held: dict[int, int] = {}
    for number in range(count):
        first = dataset.id.get_chunk_info(number).chunk_offset[0]
        held[first] = held.get(first, 0) + 1
    starts = range(0, dataset.shape[0], dataset.chunks[0])
    gap = next((start for start in starts if held.get(start, 0) < per_row), None)
    return "" if gap is None else f" (the first at index {gap})"


def _sources_gone(dataset: Any) -> list[str]:
    """Names of the source files and datasets of a virtual dataset that are not there."""
    import h5py

    folder = Path(dataset.file.filename).parent
    gone: list[str] = []
    for source in dataset.virtual_sources():
        name, place = source.file_name, source.dset_name
        try:
            if name == ".":
                there = place in dataset.file
            else:
                with h5py.File(folder / name, "r") as file:
                    there = place in file
        except OSError:
            there = False
        if not there and f"{name}:{place}" not in gone:
            gone.append(f"{name}:{place}")
    return gone
