"""Identifiers that are made here: of messages and of rooms."""

from __future__ import annotations

import os
import secrets
import time
import uuid

#: Random bytes are fetched for this many ids at once. A system call per id would let another thread have the
#: interpreter each time, and cost the event loop several times the call itself.
_FETCHED_AT_ONCE = 256

_random_bytes: list[bytes] = []
os.register_at_fork(after_in_child=_random_bytes.clear)


def new_message_id() -> uuid.UUID:
    """A UUID version 7 (RFC 9562 section 5.7): milliseconds since the epoch, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(_ten_random_bytes())
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return uuid.UUID(int=value)


def _ten_random_bytes() -> bytes:
    try:
        return _random_bytes.pop()  # atomic: no two threads get the same ones
    except IndexError:
        fetched = os.urandom(10 * _FETCHED_AT_ONCE)
        _random_bytes.extend(fetched[start : start + 10] for start in range(10, len(fetched), 10))
        return fetched[:10]


def new_room_key() -> str:
    """A room id that nobody can guess."""
    return secrets.token_urlsafe(16)


def new_invite_token() -> str:
    """What an invitation link ends in: nobody can guess it."""
    return secrets.token_urlsafe(18)


def is_valid_room_key(key: str) -> bool:
    """Whether a client may name a room so: 1 to 128 printable characters without surrounding spaces."""
    return 1 <= len(key) <= 128 and key.isprintable() and key.strip() == key
