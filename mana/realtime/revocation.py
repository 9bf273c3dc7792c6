"""Closing the sockets of those who may no longer be there, on all nodes, within a second.

What ends credentials (signing out, a new password, a disabled account, a removed device) leaves a hint in its own
transaction: this user's sessions want another look. Nodes hear of it over the channel layer at once, and from the
database within ``REVOCATION_INTERVAL`` if the layer lost it; ``revoker`` is what they do then.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from mana.realtime import stores
from mana.realtime.announce import announce
from mana.realtime.announcements import Announcement, Revoked


def recheck(user_id: str) -> None:
    """Has every node verify the sessions of a user, named by their id on the wire.

    Synchronous. Part of the caller's transaction; nodes hear of it after its commit.
    """
    _leave_hint(user_id, "")


def disconnect(session_id: str) -> None:
    """Closes one session, wherever it is. The client may come back at once."""
    _leave_hint("", session_id)


def disconnect_user(user_pk: Any) -> None:
    """Closes all sessions of a user. Where their credentials still hold, their clients may come back."""
    for session_id in stores.sessions_of(user_pk):
        disconnect(session_id)


def _leave_hint(user_id: str, session_id: str) -> None:
    using = stores.add_revocation(user_id, session_id)
    hint = Announcement(0, "", "", users=[user_id] if user_id else [], revoked=Revoked(session_id))
    transaction.on_commit(lambda: announce([hint]), using=using, robust=True)
