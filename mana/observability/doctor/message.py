"""One message all the way: through the writer of a node of our own into a room of our own, and back by sync.

What was made is removed again. No receiver of a signal hears of it, and nobody else is in the room.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import timedelta
from time import perf_counter
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections, router
from django.dispatch import Signal
from django.utils import timezone

from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging.drafts import Draft
from mana.messaging.models import Membership, Message, Room
from mana.messaging.publish import emitting_through
from mana.messaging.services.rooms import create_room
from mana.messaging.services.sync import sync
from mana.messaging.stores import latest_sequence
from mana.messaging.timeline import database as messages_database
from mana.messaging.writer import Writer
from mana.observability.doctor.report import Report, reason
from mana.observability.stores import other_nodes
from mana.protocol import ErrorCode, ManaError
from mana.realtime import hub as hubs
from mana.realtime.hooks import Hooks

#: What rooms and users of the doctor's begin with.
NAME = "mana-doctor-"
#: How old what a killed doctor left behind must be before another removes it.
ABANDONED = timedelta(minutes=10)
TIMEOUT = 30.0


class Silence(Hooks):
    """The hooks of a hub whose signals nobody shall hear."""

    def post(self, signal: Signal, sender: Any, **kwargs: Any) -> None:
        """Calls nobody."""


def examine_message(report: Report) -> None:
    """Writes a message and reads it back."""
    remove_leftovers(report)
    name = NAME + secrets.token_hex(8)
    try:
        asyncio.run(asyncio.wait_for(_write_and_read(report, name), TIMEOUT))
    except TimeoutError:
        report.fail("message", f"not done within {TIMEOUT:g} s", "Look for a transaction that holds the stream's row.")
    except ManaError as error:
        text = f"refused ({error.code}): {error.detail}"
        if error.code in (ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL):
            report.fail("message", text, "Look at the log of mana.writer, and at the database.")
        else:  # the project's own rules, as MESSAGING_POLICY, may know better than to let a stranger write
            report.warn("message", text, "Use --no-message if your policy means it.")
    except Exception as error:
        report.fail("message", reason(error), "Look at what the sections above say of database and channel layer.")
    finally:
        _remove(name)
    if _is_there(name):
        report.fail("cleaning up", f"{name} is still there", f"Delete the room and the user named {name}.")
    else:
        report.ok("cleaning up", "nothing is left behind")


async def _write_and_read(report: Report, name: str) -> None:
    hub = hubs.current()
    hub.hooks = Silence()
    # The nodes that run now must see the events before they are removed, or they would have to skip them.
    watched = await hub.database.run(other_nodes)
    try:
        await hub.start()
        cursor = await hub.database.run(latest_sequence)
        person = await hub.database.run(_make_room, name)
        text = secrets.token_urlsafe(24)
        began = perf_counter()
        draft = Draft(room_key=name, sender=person, payload_json=json.dumps({"text": text}), ack_id=name)
        placed = await hub.extension(Writer).send(draft)
        took = (perf_counter() - began) * 1000
        report.ok("writing", f"acked in {took:.1f} ms as number {placed.sequence} of all events")
        batch = await hub.database.run(sync, person, cursor)
        frames = [json.loads(frame) for frame in batch.frames]
        if any(frame["type"] == "message" and frame["payload"] == {"text": text} for frame in frames):
            report.ok("reading back", "sync gives it, as it was sent")
        else:
            report.fail("reading back", "sync does not give it", "Report this: it must not happen.")
        if watched:
            await asyncio.sleep(settings.REPAIR_INTERVAL + 2 * settings.GAP_TIMEOUT)
    finally:
        await hub.stop()
        await sync_to_async(connections.close_all)()


def _make_room(name: str) -> Person:
    user_model = get_user_model()
    user = user_model(**{user_model.USERNAME_FIELD: name, "is_active": False})
    user.set_unusable_password()
    user_model._base_manager.bulk_create([user])  # which sends no signals: nobody is welcomed by mail
    user = user_model._base_manager.get(**{user_model.USERNAME_FIELD: name})
    person = Person(user.pk, str(user.pk), name, "")
    with emitting_through(lambda signal, sender, kwargs: None):
        create_room(person, key=name, name="The doctor's", members=[])
    return person


def _remove(*names: str) -> None:
    using = messages_database()
    Message.objects.using(using).filter(room__key__in=names).delete()
    Membership.objects.using(using).filter(room__key__in=names).delete()
    Room.objects.using(using).filter(key__in=names).delete()
    user_model = get_user_model()
    users = user_model._base_manager.using(router.db_for_write(user_model))
    for user in users.filter(**{f"{user_model.USERNAME_FIELD}__in": names}):
        # Not delete(): that tells the project's receivers, who were not told of the making either.
        users.filter(pk=user.pk)._raw_delete(users.db)


def _is_there(name: str) -> bool:
    user_model = get_user_model()
    return (
        Room.objects.filter(key=name).exists()
        or user_model._base_manager.filter(**{user_model.USERNAME_FIELD: name}).exists()
    )


def remove_leftovers(report: Report) -> None:
    """Removes what a doctor left behind that was killed."""
    old = Room.objects.filter(key__startswith=NAME, created_at__lt=timezone.now() - ABANDONED)
    keys = list(old.values_list("key", flat=True))
    if keys:
        _remove(*keys)
        report.note("leftovers", f"{len(keys)} rooms of earlier examinations were removed")
