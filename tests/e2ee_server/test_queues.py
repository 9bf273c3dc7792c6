"""What waits for devices: quota, retention, and the pages that give it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from mana.messaging.services import create_room, send
from mana.pruning import tasks
from mana_e2ee import stores
from mana_e2ee.models import Envelope, SharedBody
from mana_e2ee.services import delivery
from tests.e2ee_server.test_directory import device_of, refused, upload, user

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture
def device() -> Any:
    """The row of somebody's phone."""
    someone = user()
    upload(someone, device_of(someone))
    row = stores.device(someone.pk, "phone")
    assert row is not None
    return row


def put(device: Any, sender: Any, size: int = 10, *, shared: bool = False, event: UUID | None = None) -> UUID:
    """Has something wait for a device; the id of its event."""
    event = event or uuid4()
    body = b"x" * size
    stores.keep(
        event,
        sender.pk,
        {device.pk: b"" if shared else body},
        timezone.now(),
        stores.database(),
        shared=body if shared else None,
    )
    return event


def waiting(device: Any) -> list[UUID]:
    """The events whose ciphertext waits for a device."""
    return list(stores.queue(device.pk).values_list("event_id", flat=True))


def test_beyond_the_quota_the_oldest_of_the_one_who_fills_the_queue_goes(device: Any, settings: Any) -> None:
    settings.MANA = {**settings.MANA, "E2EE_QUEUE_MESSAGES": 5}
    friend, flooder = user(), user()
    first = put(device, friend)
    flood = [put(device, flooder) for _ in range(8)]
    assert stores.trim([device.pk]) == 4
    assert waiting(device) == [first, *flood[4:]]
    assert stores.trim([device.pk]) == 0


def test_the_quota_counts_bytes_too(device: Any, settings: Any) -> None:
    settings.MANA = {**settings.MANA, "E2EE_QUEUE_BYTES": 65_536}
    friend, flooder = user(), user()
    kept = [put(device, friend, 1000) for _ in range(3)]
    flood = [put(device, flooder, 30_000) for _ in range(3)]
    assert stores.trim([device.pk]) == 1
    assert waiting(device) == [*kept, *flood[1:]]


def test_what_waited_for_too_long_is_pruned_with_the_body_that_it_shared(device: Any) -> None:
    other = user()
    upload(other, device_of(other))
    second = stores.device(other.pk, "phone")
    event = put(device, other, shared=True)
    stores.keep(event, other.pk, {second.pk: b""}, timezone.now(), stores.database())  # type: ignore[union-attr]
    fresh = put(device, other)
    assert delivery.ack(other, "phone", [str(event)]) == 1
    assert SharedBody.objects.count() == 1
    Envelope.objects.filter(event_id=event).update(created_at=timezone.now() - timedelta(days=31))
    prune = {task.name: task.prune for task in tasks()}["ciphertext that waited for too long"]
    assert (prune(True), prune(False), prune(False)) == (1, 1, 0)
    assert waiting(device) == [fresh]
    assert not SharedBody.objects.exists()


def test_what_no_device_waits_for_is_pruned(device: Any) -> None:
    event = put(device, user(), shared=True)
    Envelope.objects.filter(event_id=event).update(device_id=device.pk + 1000)
    old = timezone.now() - timedelta(hours=2)
    Envelope.objects.update(created_at=old)
    SharedBody.objects.update(created_at=old)
    prune = {task.name: task.prune for task in tasks()}["ciphertext that no device waits for"]
    assert prune(False) == 2
    assert not Envelope.objects.exists()
    assert not SharedBody.objects.exists()


def test_pending_comes_in_pages_in_the_order_of_the_events(device: Any) -> None:
    owner = device.user
    room = create_room(owner, name="A room").room
    events = [send(room, owner, f"{n}") for n in range(5)]
    for event in events:
        put(device, owner, event=event.pk)
    page = delivery.pending(owner, "phone", limit=3)
    assert (len(page.frames), page.has_more) == (3, True)
    delivery.ack(owner, "phone", [str(event.pk) for event in events[:3]])
    page = delivery.pending(owner, "phone", limit=3)
    assert (len(page.frames), page.has_more) == (2, False)
    refused("not_found", delivery.pending, owner, "laptop")
    refused("not_found", delivery.ack, owner, "laptop", [str(events[0].pk)])
    refused("not_found", delivery.ack, owner, "phone", ["not an id"])


def test_a_page_of_pending_ends_after_so_many_bytes(device: Any) -> None:
    owner = device.user
    room = create_room(owner, name="A room").room
    for n in range(10):
        put(device, owner, 60_000, event=send(room, owner, f"{n}").pk)
    page = delivery.pending(owner, "phone")
    assert (len(page.frames), page.has_more) == (8, True)


def test_pages_of_sync_and_history_end_before_they_get_too_large_and_nothing_is_left_out(device: Any) -> None:
    from mana.messaging.extras import extra_json
    from mana.messaging.models import Message
    from mana.messaging.services.sync import history, sync

    owner = device.user
    room = create_room(owner, name="A room").room
    for n in range(30):
        put(device, owner, 60_000, event=send(room, owner, f"{n}").pk)
    Message.objects.filter(kind="message").update(payload_json="null", extra_json=extra_json([], [], encrypted=True))
    synced: list[bytes] = []
    cursor, has_more = 0, True
    while has_more:
        batch = sync(owner, cursor, device_id="phone")
        assert sum(map(len, batch.frames)) < 1024 * 1024
        synced += batch.frames
        cursor, has_more = batch.cursor, batch.has_more
    read: list[bytes] = []
    before: int | None = None
    has_more = True
    while has_more:
        page = history(room.key, owner, before=before, device_id="phone")
        read = [*page.frames, *read]
        before, has_more = page.indexes[0], page.has_more
    assert len([one for one in synced if b'"encrypted":true' in one]) == 30
    assert read == synced
