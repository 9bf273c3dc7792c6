"""Places in the one order of all events: no gap, none twice, and no reader ahead of what was committed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections

from mana.messaging import services, stores
from mana.messaging.models import Message, Stream

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

THREADS, EACH = 4, 15


@pytest.fixture
def ann() -> Any:
    """Somebody."""
    return get_user_model()._default_manager.create_user(username="ann")  # type: ignore[attr-defined]


def test_threads_that_write_at_once_leave_no_gap_and_give_no_place_twice(ann: Any) -> None:
    room = services.create_room(ann).room

    def write(thread: int) -> list[tuple[int | None, int | None]]:
        try:
            sent = [services.send(room.key, ann, f"{thread} {number}") for number in range(EACH)]
            return [(message.sequence, message.index) for message in sent]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as threads:
        places = [place for places in threads.map(write, range(THREADS)) for place in places]
    expected = [(number, number) for number in range(2, THREADS * EACH + 2)]  # the first is the room itself
    assert sorted(places) == expected
    assert list(Message.objects.order_by("sequence").values_list("sequence", "index"))[1:] == expected
    assert Stream.objects.get().sequence == THREADS * EACH + 1


def test_sync_stops_where_the_order_was_when_it_began(ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is committed between the queries of a sync might be seen in one room and not in another."""
    room = services.create_room(ann).room
    services.send(room.key, ann, "before")
    latest = stores.latest_sequence

    def then_somebody_writes() -> int:
        found = latest()
        monkeypatch.undo()
        services.send(room.key, ann, "meanwhile")
        return found

    monkeypatch.setattr(stores, "latest_sequence", then_somebody_writes)
    batch = services.sync(ann, 0)
    assert (len(batch.frames), batch.cursor) == (2, 2)
    assert [len(services.sync(ann, batch.cursor).frames)] == [1]
