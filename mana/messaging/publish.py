"""Telling of committed events: signals to the project's code, announcements to the sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.contrib.auth import get_user_model
from django.dispatch import Signal

from mana import signals
from mana.accounts.stores import resolve
from mana.messaging.extras import reaction_of
from mana.messaging.frames import AnyEvent, announcements_of, change_of
from mana.messaging.models import Message, Room
from mana.realtime.announce import announce

Emit = Callable[..., Any]

_emitter: ContextVar[Callable[[Signal, Any, dict[str, Any]], None] | None] = ContextVar("mana_emitter", default=None)


def publish(events: Sequence[AnyEvent]) -> None:
    """Emits the signals of sequenced events and announces them. Call it after the commit; it never raises."""
    if not events:
        return
    emit_signals(events)
    announce(announcements_of(events))
    for event in events:
        if isinstance(event, Message) and event.kind == Message.Kind.MESSAGE:
            emit(signals.message_sent, Message, message=event)


def emit_signals(events: Sequence[AnyEvent]) -> None:
    """Tells the project's code that events are stored."""
    for event in events:
        if not isinstance(event, Message):
            continue
        if event.kind == Message.Kind.MESSAGE:
            emit(signals.message_stored, Message, message=event)
        elif event.kind == Message.Kind.ROOM:
            _tell_of_change(event)
        else:
            _tell_of_changed_message(event)


def emit(signal: Signal, sender: Any, **kwargs: Any) -> None:
    """Sends a signal: here and now in synchronous code, through the hub's queue in its threads."""
    deferred = _emitter.get()
    if not signal.has_listeners(sender):
        return
    if deferred is not None:
        deferred(signal, sender, kwargs)
    else:
        signal.send_robust(sender, **kwargs)


@contextmanager
def emitting_through(emitter: Callable[[Signal, Any, dict[str, Any]], None]) -> Iterator[None]:
    """Hands the signals of this block to ``emitter`` instead of sending them."""
    token = _emitter.set(emitter)
    try:
        yield
    finally:
        _emitter.reset(token)


def _tell_of_changed_message(event: Message) -> None:
    signal = {
        Message.Kind.EDIT: signals.message_edited,
        Message.Kind.DELETE: signals.message_deleted,
        Message.Kind.REACTION: signals.reaction_changed,
    }[Message.Kind(event.kind)]
    if not signal.has_listeners(Message) or event.target is None:
        return
    message = Message.objects.select_related("room").filter(pk=event.target).first()
    if message is None:
        return
    extra = {}
    if signal is signals.reaction_changed:
        change = reaction_of(event.payload_json)
        extra = {"emoji": change.emoji, "removed": change.remove}
    emit(signal, Message, message=message, event=event, **extra)


def _tell_of_change(event: Message) -> None:
    change = change_of(event)
    emit(signals.room_changed, Room, room=event.room, action=change.action, event=event)
    signal = {
        "created": signals.user_joined,
        "joined": signals.user_joined,
        "left": signals.user_left,
        "removed": signals.user_left,
        "banned": signals.user_left,
    }.get(change.action)
    if signal is None or not signal.has_listeners(Room):
        return
    people = resolve([member.user_id for member in change.members], active_only=False)
    users = get_user_model()._default_manager.in_bulk([person.pk for person in people.values()])
    extra = {"removed": change.action != "left"} if signal is signals.user_left else {}
    for user in users.values():
        emit(signal, Room, room=event.room, user=user, event=event, **extra)
