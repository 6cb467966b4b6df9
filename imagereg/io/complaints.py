"""What libraries and the operating system complain of, turned into sentences."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from imagereg.errors import ImageregError, InputError, ResourceError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def reading(path: Path, what: str = "file") -> Iterator[None]:
    """Turn whatever goes wrong while `path` is read into one sentence.

    Raises
    ------
    InputError
        When the file is missing, forbidden, truncated or damaged.
    ResourceError
        When it does not fit into memory.
    """
    try:
        yield
    except ImageregError:
        raise
    except MemoryError as error:
        raise ResourceError(f"{path}: not enough memory to read it; read fewer rows or views.") from error
    except FileNotFoundError as error:
        missing = error.filename or path
        raise InputError(f"{missing}: no such file or folder; check the path.") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it; ask its owner or copy it.") from error
    except Exception as error:  # readers stand on a dozen libraries, each with exceptions of its own
        raise InputError(
            f"{path}: cannot be read as {what} ({reason(error)}); it may be cut short or damaged."
        ) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's complaints while `path` is written into one sentence.

    Raises
    ------
    ResourceError
        When the disk or a quota is full.
    InputError
        When the place may not be written.
    """
    try:
        yield
    except ImageregError:
        raise
    except (OSError, RuntimeError) as error:  # h5py gives RuntimeError for what fails at closing
        number = error_number(error)
        if number in _FULL:
            raise ResourceError(
                f"{path}: the disk is full, nothing was left behind; free some space or write elsewhere."
            ) from error
        if number in _FORBIDDEN:
            raise InputError(f"{path}: no permission to write there; choose another folder.") from error
        if number is None and isinstance(error, RuntimeError):
            raise
        raise InputError(f"{path}: cannot be written ({reason(error)}).") from error


def error_number(error: BaseException) -> int | None:
    """The operating system's number of an error, also where a library hides it in its text."""
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    found = re.search(r"errno\s*=\s*(\d+)", str(error))
    return int(found.group(1)) if found else None


def reason(error: BaseException) -> str:
    """The first line of what a library says, without its full stop."""
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror[:1].lower() + error.strerror[1:].split("\n")[0].rstrip(".")
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing" if error.args else "a part is missing"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160].rstrip(".")
