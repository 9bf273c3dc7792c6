"""Who leaves a room, is blocked or deleted is out of its call at once. The sweep finds what these miss."""

from __future__ import annotations

from typing import Any

from mana import signals
from mana.accounts.services.deletion import departs
from mana_rtc import stores
from mana_rtc.services.sweeping import end_across_block, leave, put_out_of_room

#: Changes of a room by which people are no members any more.
LEAVING = frozenset(("left", "removed", "banned", "deleted"))


def listen() -> None:
    """Connects the receivers."""
    signals.room_changed.connect(_room_changed, dispatch_uid="mana.calls.room")
    departs(_account_deleting)
    signals.block_changed.connect(_block_changed, dispatch_uid="mana.calls.block")


def _room_changed(room: Any, action: str, **_: Any) -> None:
    if action in LEAVING:
        put_out_of_room(room.pk)


def _account_deleting(user: Any) -> None:
    for call_pk in stores.live_calls_of(user.pk):
        leave(call_pk, user.pk)


def _block_changed(user: Any, other: Any, blocked: bool, **_: Any) -> None:
    if not blocked or user is None or other is None:
        return
    call = stores.direct_call_of(user.pk, other.pk)
    if call is not None:
        end_across_block(call.pk)
