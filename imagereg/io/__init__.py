"""Files in and out: readers give a `Measurement`, writers take a result."""

from imagereg.io.base import Reader, find_reader, read, readers
from imagereg.io.lazy import LazyArray
from imagereg.io.write import open_volume, write

__all__ = ["LazyArray", "Reader", "find_reader", "open_volume", "read", "readers", "write"]
