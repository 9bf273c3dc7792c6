"""Walks through the admin of a large database and prints the server time of each page.

``python -m benchmarks.admin_walk`` fills an SQLite file with 10,000 rooms and 100,000 messages (``--rooms``,
``--messages``), asks for every list, search, filter, detail page and the dashboard through Django's test client (no
network, all of the server's work), and prints the median of three. ``--keep FILE`` leaves the database for a look with
a browser: ``root`` / ``root``.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT_MS = 300


def main() -> None:
    """Fills and walks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--keep", metavar="FILE", help="where the database is left")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.keep or f"{folder}/walk.sqlite3").resolve()
        os.environ["DATABASE_URL"] = os.environ.get("WALK_DATABASE_URL") or f"sqlite:///{path}"
        os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
        os.environ["DEBUG"] = "false"
        os.environ.setdefault("SECRET_KEY", "a-key-of-more-than-thirty-two-bytes-for-a-walk")
        os.environ["ALLOWED_HOSTS"] = "*"
        os.environ["HTTPS"] = "false"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        started = time.perf_counter()
        fill(options.rooms, options.messages)
        print(f"filled in {time.perf_counter() - started:.0f} s")
        walk()


def fill(room_count: int, message_count: int) -> None:
    """Rows in bulk: what the services would have made, without their announcements."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone

    from mana.accounts.models import Device, Profile, SignIn
    from mana.messaging.ids import new_message_id
    from mana.messaging.models import Attachment, Invite, Membership, Message, Room, Stream
    from mana.moderation.models import AuditEntry, Report
    from mana.realtime.models import Node, Session

    now = timezone.now()
    chance = random.Random(7)
    users = get_user_model()
    if users.objects.exists():
        return
    users.objects.create_superuser("root", password="root")
    password = make_password(None)
    users.objects.bulk_create([users(username=f"person-{n}", password=password) for n in range(2000)], batch_size=500)
    people = list(users.objects.exclude(username="root"))
    Profile.objects.bulk_create([Profile(user=one, display_name=one.username.title()) for one in people])
    Device.objects.bulk_create([Device(user=one, device_id="phone", last_seen_at=now) for one in people])
    SignIn.objects.bulk_create([SignIn(user=one, refresh_jti="x", expires_at=now) for one in people])
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
    rooms = list(Room.objects.all())
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
                created_at=now,
            )
        )
    Message.objects.bulk_create(events, batch_size=1000)
    Room.objects.bulk_update(busy, ["last_index", "message_count", "last_sequence"], batch_size=200)
    Stream.objects.update_or_create(pk=1, defaults={"sequence": message_count})
    node = Node.objects.create(id="node-1", seen_at=now)
    Session.objects.bulk_create(
        [Session(id=f"s-{one.pk}", node=node, user=one, device_id="phone", connected_at=now) for one in people]
    )
    Report.objects.bulk_create(
        [
            Report(
                reporter=chance.choice(people),
                subject_type="message",
                user=event.sender,
                room=event.room,
                message=event,
                reason="spam",
                open_key=str(event.pk),
            )
            for event in events[:2000]
        ],
        batch_size=500,
    )
    AuditEntry.objects.bulk_create(
        [AuditEntry(actor_name="person-1", action="room muted", subject="x") for _ in range(20_000)], batch_size=1000
    )
    Invite.objects.bulk_create([Invite(room=room, created_by=people[0]) for room in rooms[:2000]])
    Attachment.objects.bulk_create(
        [
            Attachment(owner=people[0], name=f"f{n}.png", content_type="image/png", size=n, sha256="0" * 64, file="x")
            for n in range(5000)
        ],
        batch_size=500,
    )


def walk() -> None:
    """Asks for each page three times."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    client = Client()
    client.force_login(get_user_model().objects.get(username="root"))
    slow = 0
    print("| page | ms | bytes |\n|---|---|---|")
    for name, url in pages(reverse):
        times = []
        for _ in range(3):
            started = time.perf_counter()
            response = client.get(url)
            times.append((time.perf_counter() - started) * 1000)
            assert response.status_code == 200, (url, response.status_code)
        median = statistics.median(times)
        slow += median > LIMIT_MS
        print(f"| {name} | {median:.0f}{' SLOW' if median > LIMIT_MS else ''} | {len(response.content):,} |")
    print(f"{slow} pages took more than {LIMIT_MS} ms")


def pages(reverse: Any) -> list[tuple[str, str]]:
    """Every page of mana's in the admin."""
    from django.apps import apps
    from django.contrib import admin

    from mana.messaging.models import Message, Room

    found = [("index", reverse("admin:index")), ("dashboard", reverse("admin:mana_moderation_dashboard_changelist"))]
    for model in apps.get_models():
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        if not name.startswith("mana") or model not in admin.site._registry or name.endswith("_dashboard"):
            continue
        url = reverse(f"admin:{name}_changelist")
        label = f"{model._meta.verbose_name_plural}"
        found += [(label, url), (f"{label}, searched", f"{url}?q=person-77")]
        if model._default_manager.count() > 4000:
            found.append((f"{label}, page 40", f"{url}?p=40"))
        row = model._default_manager.order_by("-pk").first()
        if row is not None:
            found.append((f"{label}, one", reverse(f"admin:{name}_change", args=[row.pk])))
    busiest = Room.objects.order_by("-message_count").first()
    assert busiest is not None
    messages = reverse("admin:mana_messaging_message_changelist")
    return [
        *found,
        ("messages with a word", f"{messages}?q=99999"),
        ("messages of a room", f"{messages}?q={busiest.key}"),
        ("messages of one kind", f"{messages}?kind__exact={Message.Kind.MESSAGE}"),
        ("rooms by name", f"{reverse('admin:mana_messaging_room_changelist')}?q=Room+77"),
        ("open reports", f"{reverse('admin:mana_moderation_report_changelist')}?status__exact=open"),
    ]


if __name__ == "__main__":
    main()
