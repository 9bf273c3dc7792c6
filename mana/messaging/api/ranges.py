"""Parts of files (RFC 9110 section 14): what a player asks for that jumps ahead, or a download that goes on."""

from __future__ import annotations

import re
from typing import IO, Any, NamedTuple

from django.core.files.base import File

_ONE_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.ASCII | re.IGNORECASE)


class Unsatisfiable(Exception):
    """The part that is asked for lies behind the end."""


class Part(NamedTuple):
    """Bytes of a file, from ``first`` up to and with ``last``."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.last - self.first + 1


def asked_for(header: str | None, size: int) -> Part | None:
    """The part that a ``Range`` header asks for. Raises ``Unsatisfiable``.

    ``None`` for the whole file: without the header, for another unit, for several parts at once and for nonsense, all
    of which a server may answer with the whole.
    """
    found = _ONE_RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:  # the last so many
        wanted = min(int(last), size)
        if not wanted:
            raise Unsatisfiable
        return Part(size - wanted, size - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return Part(int(first), min(int(last), size - 1) if last else size - 1)


class PartOfFile:
    """Reads a part of an open file, and closes the file."""

    def __init__(self, file: IO[bytes] | File[Any], part: Part) -> None:
        self._file = file
        self._left = part.length
        file.seek(part.first)

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the part; none at its end."""
        data: bytes = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
