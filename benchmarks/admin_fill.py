"""A large site for the walk through the admin: rows in bulk, as the services would have made them."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any
from uuid import uuid4

PEOPLE = 2000


def fill(room_count: int, message_count: int) -> None:
    """Fills an empty database: ``message_count`` rows of what there is most of, fewer of the rest."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password

    users = get_user_model()
    if users.objects.exists():
        return
    users.objects.create_superuser("root", password="root")
    password = make_password(None)
    users.objects.bulk_create([users(username=f"person-{n}", password=password) for n in range(PEOPLE)], batch_size=500)
    people = list(users.objects.exclude(username="root").order_by("pk"))
    _who(people)
    events = _rooms(people, room_count, message_count)
    _told(people, message_count)
    _moderated(people, events, message_count)
    _called(people, [event.room for event in events[: message_count // 5]])
    _encrypted(people, events)
    _analyse()


def _analyse() -> None:
    """Has the database learn what it holds, as it does by itself while a site grows."""
    from django.db import connection

    names = connection.introspection.table_names()
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(f"ANALYZE TABLE {', '.join(map(connection.ops.quote_name, names))}")
            cursor.fetchall()
        elif connection.vendor == "postgresql":
            cursor.execute("ANALYZE")


def _who(people: list[Any]) -> None:
    """Profiles, names, devices, sign-ins, sockets; who knows whom."""
    from django.utils import timezone

    from mana.accounts.models import Device, Identifier, Profile, SignIn
    from mana.contacts.models import Block, Contact, ContactRequest
    from mana.preferences.models import Preference
    from mana.realtime.models import Node, Session

    now = timezone.now()
    Profile.objects.bulk_create([Profile(user=one, display_name=one.username.title()) for one in people])
    Identifier.objects.bulk_create([Identifier(kind="username", key=one.username, user=one) for one in people])
    Device.objects.bulk_create(
        [Device(user=one, device_id="phone", platform="Android", last_seen_at=now) for one in people]
    )
    SignIn.objects.bulk_create(
        [SignIn(user=one, refresh_jti="x", expires_at=now, user_agent="Firefox") for one in people]
    )
    node = Node.objects.create(id="node-1", seen_at=now)
    Session.objects.bulk_create(
        [Session(id=f"s-{one.pk}", node=node, user=one, device_id="phone", connected_at=now) for one in people]
    )
    pairs = [(one, people[(n + step) % len(people)]) for n, one in enumerate(people) for step in range(1, 6)]
    known = [(a, b) for pair in pairs for a, b in (pair, pair[::-1])]
    Contact.objects.bulk_create([Contact(user=a, person=b, nickname="Pal") for a, b in known], batch_size=1000)
    after = [(one, people[(n + 100) % len(people)]) for n, one in enumerate(people)]
    ContactRequest.objects.bulk_create(
        [ContactRequest(user=a, person=b, pair=f"{a.pk} {b.pk}", message="Hello") for a, b in after]
    )
    Block.objects.bulk_create([Block(user=b, person=a) for a, b in after])
    Preference.objects.bulk_create(
        [
            Preference(user=one, key=key, value_json='"mentions"')
            for one in people
            for key in ("notifications.level", "x")
        ]
    )


def _rooms(people: list[Any], room_count: int, message_count: int) -> list[Any]:
    """Rooms, a third of them of two, with their members, links, messages and files; the messages."""
    from django.utils import timezone

    from mana.messaging.ids import new_message_id
    from mana.messaging.models import Attachment, Invite, Membership, Message, Room, Stream

    chance = random.Random(7)
    rooms = []
    for number in range(room_count):
        first, second = chance.sample(people, 2)
        direct = number % 3 == 0
        key = "\n".join(sorted((str(first.pk), str(second.pk))))
        rooms.append(
            Room(
                room_type="direct" if direct else "group",
                name="" if direct else f"Room {number}",
                direct_key=key if direct else None,
                created_by=first,
                member_count=2,
            )
        )
    unique = {room.direct_key or room.key: room for room in rooms}
    Room.objects.bulk_create(unique.values(), batch_size=500)
    rooms = list(Room.objects.order_by("pk"))
    by_pk = {str(one.pk): one for one in people}
    members = []
    for room in rooms:
        pair = [by_pk[pk] for pk in room.direct_user_ids()] or chance.sample(people, 8)
        members += [Membership(room=room, user=one, first_index=1, joined_sequence=1) for one in pair]
    Membership.objects.bulk_create(members, batch_size=1000)
    busy = rooms[:: max(1, len(rooms) // 2000)]
    events = []
    for sequence in range(1, message_count + 1):
        room = chance.choice(busy)
        room.last_index += 1
        room.message_count += 1
        room.last_sequence = sequence
        events.append(
            Message(
                id=new_message_id(),
                room=room,
                sequence=sequence,
                index=room.last_index,
                number=room.message_count,
                sender=chance.choice(people),
                payload_json=f'{{"text": "message number {sequence}, some words to look for"}}',
                created_at=timezone.now(),
            )
        )
    Message.objects.bulk_create(events, batch_size=1000)
    Room.objects.bulk_update(busy, ["last_index", "message_count", "last_sequence"], batch_size=200)
    Stream.objects.update_or_create(pk=1, defaults={"sequence": message_count})
    Invite.objects.bulk_create([Invite(room=room, created_by=people[0]) for room in rooms[:2000]])
    Attachment.objects.bulk_create(
        [
            Attachment(
                owner=chance.choice(people),
                name=f"f{n}.png",
                content_type="image/png",
                size=n,
                sha256="0" * 64,
                file="x",
                message=events[n],
            )
            for n in range(message_count // 10)
        ],
        batch_size=500,
    )
    return events


def _told(people: list[Any], count: int) -> None:
    """Notifications, and browsers that can be pushed to."""
    from mana.notifications.models import Notification, PushSubscription

    Notification.objects.bulk_create(
        [
            Notification(user=people[n % len(people)], kind="mention", title=f"Number {n}", body="You are mentioned")
            for n in range(count)
        ],
        batch_size=1000,
    )
    PushSubscription.objects.bulk_create(
        [PushSubscription(user=one, digest=str(one.pk), endpoint="https://push.example/x" * 8) for one in people]
    )


def _moderated(people: list[Any], events: list[Any], count: int) -> None:
    """Reports, half of them handled, and the log."""
    from django.utils import timezone

    from mana.moderation.models import AuditEntry, Report

    chance = random.Random(8)
    Report.objects.bulk_create(
        [
            Report(
                reporter=chance.choice(people),
                subject_type="message",
                user=event.sender,
                room=event.room,
                message=event,
                reason="spam",
                evidence_json='{"message": {"payload": {"text": "as it was"}}, "attachments": []}',
                open_key=str(event.pk) if n % 2 else None,
                status="open" if n % 2 else "dismissed",
                handled_by=None if n % 2 else people[0],
                handled_at=None if n % 2 else timezone.now(),
            )
            for n, event in enumerate(events[: count // 10])
        ],
        batch_size=500,
    )
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(
                actor=people[n % 9], actor_name=people[n % 9].username, action="room muted", subject=f"person-{n}"
            )
            for n in range(count)
        ],
        batch_size=1000,
    )


def _called(people: list[Any], rooms: list[Any]) -> None:
    """Calls that were, one that goes on, and who was in them."""
    from django.utils import timezone

    from mana_rtc.models import Call, CallParticipant

    now = timezone.now()
    calls = [
        Call(
            room=room,
            started_by=people[n % len(people)],
            state="ended",
            reason="missed" if n % 3 else "hangup",
            answered_at=None if n % 3 else now - timedelta(seconds=60),
            ended_at=now,
        )
        for n, room in enumerate(rooms)
    ]
    Call.objects.bulk_create(calls, batch_size=500)
    going = Call.objects.create(room=rooms[0], live_in=rooms[0].key, started_by=people[0], state="accepted")
    rows = [
        CallParticipant(call=call, user=people[(n + step) % len(people)], state="left", joined_at=now)
        for n, call in enumerate(calls)
        for step in range(3)
    ]
    CallParticipant.objects.bulk_create(rows, batch_size=1000)
    CallParticipant.objects.create(call=going, user=people[0], state="joined", joined_at=now)


def _encrypted(people: list[Any], events: list[Any]) -> None:
    """Public keys, device lists, and ciphertext on its way to devices that are offline."""
    from django.utils import timezone

    from mana_e2ee.models import Device, DeviceList, Envelope, OneTimePreKey

    now = timezone.now()
    Device.objects.bulk_create(
        [
            Device(
                user=one,
                device_id=device,
                record=b"x" * 200,
                signed_prekey=b"x" * 100,
                signed_prekey_id=1,
                one_time_top=20,
                is_listed=True,
                updated_at=now,
            )
            for one in people
            for device in ("phone", "tablet")
        ],
        batch_size=500,
    )
    devices = list(Device.objects.order_by("pk"))
    OneTimePreKey.objects.bulk_create(
        [OneTimePreKey(device=one, key_id=key, data=b"x" * 33) for one in devices for key in range(1, 21)],
        batch_size=1000,
    )
    DeviceList.objects.bulk_create(
        [DeviceList(user=one, epoch=epoch, data=b"x" * 300) for one in people for epoch in (1, 2)], batch_size=1000
    )
    Envelope.objects.bulk_create(
        [
            Envelope(
                event_id=uuid4(),
                device=devices[n % len(devices)],
                sender=event.sender,
                body=b"x",
                size=1,
                created_at=now,
            )
            for n, event in enumerate(events)
        ],
        batch_size=1000,
    )
