"""What sessions were opened with, and whether it still holds. The accounts app registers who knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mana.realtime.identity import Identity


class Credential(NamedTuple):
    """What a session was opened with. ``device_id`` is the device that must still exist, if one was named."""

    identity: Identity
    device_id: str | None


#: Gives the positions of those credentials that no longer hold, each with the ``CloseCode`` for its socket.
#: Synchronous, called in a database thread.
Verifier = Callable[[Sequence[Credential]], Mapping[int, int]]


def _nobody_ends(credentials: Sequence[Credential]) -> Mapping[int, int]:
    return {}


_verifier: Verifier = _nobody_ends


def register(verifier: Verifier) -> None:
    """Makes ``verifier`` the one that revocations ask."""
    global _verifier
    _verifier = verifier


def ended(credentials: Sequence[Credential]) -> Mapping[int, int]:
    """Those of the credentials that no longer hold, by position."""
    return _verifier(credentials)
