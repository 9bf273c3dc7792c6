"""Ids as they may appear in traces: keyed hashes, the same on all nodes, from which nobody gets back to the id."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from django.conf import settings as django_settings


def hashed(identifier: str) -> str:
    """A short hash of a session, user or room id."""
    return hashlib.blake2b(identifier.encode(errors="replace"), digest_size=8, key=_key()).hexdigest()


@lru_cache(maxsize=1)
def _key() -> bytes:
    return hashlib.sha256(b"mana.traces" + django_settings.SECRET_KEY.encode()).digest()
