"""Telling users of something. Each function has an async twin with an ``a`` before its name.

::

    from mana import notifications

    notifications.send(user, "Your order is on its way", data={"order": 7})

A notification is stored, goes to every connected device of the user as a ``notification`` frame, and to the backends of
``MANA["PUSH_BACKENDS"]`` if no device is connected. What the user chose counts: ``mana.notifications.wishes``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from mana import signals
from mana.accounts.live import send_signal, tell
from mana.accounts.stores import people, person
from mana.conf import settings
from mana.notifications import push, stores
from mana.notifications.models import Notification
from mana.notifications.wishes import wishes_of
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import Notification as NotificationFrame
from mana.protocol.server import NotificationRead
from mana.realtime.wire import timestamp
from mana.stores import async_twin

TITLE_LENGTH, BODY_LENGTH, KIND_LENGTH = 200, 2000, 40


def send(
    user: Any, title: str, body: str = "", data: Any = None, *, kind: str = "", room: str | None = None
) -> Notification | None:
    """Tells a user of something; ``None`` if they do not want to be told.

    ``data`` is anything that JSON can write, for the client to act on. ``kind`` is a word for the occasion. ``room`` is
    the id of the room that it comes from: then what the user chose for that room counts. ``kind="mention"`` passes
    where only mentions notify.
    """
    stored = _send([user.pk], title, body, data, kind, room)
    return stored[0] if stored else None


def broadcast(
    title: str,
    body: str = "",
    data: Any = None,
    *,
    users: Iterable[Any] | None = None,
    kind: str = "",
    room: str | None = None,
) -> int:
    """Tells several users of something, or every active one; how many were told. In batches, for any number."""
    return sum(len(_send(batch, title, body, data, kind, room)) for batch in stores.active_users(users))


def _send(user_pks: list[Any], title: str, body: str, data: Any, kind: str, room: str | None) -> list[Notification]:
    try:
        data_json = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ManaError(ErrorCode.INVALID, f"The data can't be written as JSON: {error}.") from None
    if len(data_json.encode()) > settings.MAX_MESSAGE_SIZE // 2:
        raise ManaError(ErrorCode.TOO_LARGE, f"The data may have {settings.MAX_MESSAGE_SIZE // 2} bytes.")
    wishes = wishes_of(user_pks, room=room, mention=kind == "mention")
    rows = [
        Notification(
            user_id=pk,
            kind=kind[:KIND_LENGTH],
            title=title.replace("\x00", "")[:TITLE_LENGTH],
            body=body.replace("\x00", "")[:BODY_LENGTH],
            data_json=data_json,
            is_silent=wishes[pk].silent,
        )
        for pk in user_pks
        if wishes[pk].wanted
    ]
    if not rows:
        return []
    stores.add(rows)
    persons = people([row.user_id for row in rows])
    for row in rows:
        if row.user_id in persons:
            tell([persons[row.user_id].user_id], frame_of(row))
    push.after_commit([row for row in rows if not row.is_silent])
    send_signal(signals.notifications_sent, Notification, notifications=rows)
    return rows


def frame_of(row: Notification) -> NotificationFrame:
    """A notification as its user's devices get it."""
    return NotificationFrame(
        id=str(row.pk),
        title=row.title,
        body=row.body,
        timestamp=timestamp(row.created_at),
        data=row.data,
        kind=row.kind or None,
        silent=row.is_silent,
    )


def unread_count(user: Any) -> int:
    """How many notifications a user has not read."""
    return stores.unread_count(user.pk)


def mark_read(user: Any, ids: Collection[UUID] | None = None) -> int:
    """Marks some, or all, as read, on all devices; how many are unread now."""
    changed = stores.mark_read(user.pk, ids)
    unread = stores.unread_count(user.pk)
    if changed:
        _tell_read(user, changed if ids is not None else None, unread)
    return unread


def remove(user: Any, ids: Collection[UUID] | None = None) -> int:
    """Removes some, or all; how many are unread now."""
    removed = stores.remove(user.pk, ids)
    unread = stores.unread_count(user.pk)
    if removed:
        _tell_read(user, list(ids) if ids is not None else None, unread)
    return unread


def _tell_read(user: Any, ids: list[UUID] | None, unread: int) -> None:
    who = person(user.pk)
    if who is not None:
        tell([who.user_id], NotificationRead(ids=[str(one) for one in ids] if ids is not None else None, unread=unread))


asend = async_twin(send)
abroadcast = async_twin(broadcast)
aunread_count = async_twin(unread_count)
amark_read = async_twin(mark_read)
aremove = async_twin(remove)

__all__ = [
    "abroadcast",
    "amark_read",
    "aremove",
    "asend",
    "aunread_count",
    "broadcast",
    "mark_read",
    "remove",
    "send",
    "unread_count",
]
