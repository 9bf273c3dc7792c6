"""Where rooms are placed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from mana_rtc.models import MediaWorker, Placement
from mana_rtc.sfu.backend import SfuError
from mana_rtc.sfu.meter import Load
from mana_rtc.workers import stores

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def _long_leases(settings: Any) -> None:
    """So long that none ends while a slow machine comes to the next line."""
    settings.MANA = {**settings.MANA, "RTC_WORKER_LEASE": 60.0}


def beat(worker: str, *, draining: bool = False, max_rooms: int = 10, **load: float) -> dict[str, int]:
    return stores.beat(worker, f"to-{worker}", Load(**load), name="", max_rooms=max_rooms, draining=draining)  # type: ignore[arg-type]


def age(worker: str, seconds: float) -> None:
    MediaWorker.objects.filter(pk=worker).update(seen_at=timezone.now() - timedelta(seconds=seconds))


def test_a_room_stays_where_it_is() -> None:
    beat("one")
    beat("two")
    placed = stores.place("room")
    assert placed == stores.place("room") == stores.find("room")
    assert placed.channel == f"to-{placed.worker}"
    assert beat(placed.worker) == {"room": placed.pk}
    assert stores.is_placed(placed.pk, placed.worker, "room")
    assert not stores.is_placed(placed.pk, placed.worker, "another")


def test_rooms_go_to_who_has_least_to_do() -> None:
    beat("one", participants=10)
    beat("two", participants=3)
    beat("three", busy=0.95)
    assert [stores.place(f"room {number}").worker for number in range(5)] == ["two", "two", "two", "two", "one"]


def test_a_room_of_a_dead_worker_is_placed_anew() -> None:
    beat("one")
    before = stores.place("room")
    age("one", 100)
    assert stores.find("room") is None
    assert stores.in_force([before.pk]) == set()
    with pytest.raises(SfuError, match="No media worker runs"):
        stores.place("room")
    beat("two")
    after = stores.place("room")
    assert (after.worker, after.pk > before.pk) == ("two", True)
    assert beat("one") == {}  # the one that was taken for dead learns it
    assert stores.place("room") == after


def test_who_drains_gets_nothing_new() -> None:
    beat("one")
    before = stores.place("room")
    beat("one", draining=True)
    with pytest.raises(SfuError):
        stores.place("another")
    assert stores.find("room") is None
    beat("two")
    assert stores.place("room").worker == "two"
    assert stores.in_force([before.pk]) == set()


def test_full_workers_are_full() -> None:
    beat("one", max_rooms=1)
    stores.place("room")
    with pytest.raises(SfuError, match="full") as raised:
        stores.place("another")
    assert raised.value.full
    stores.release(stores.place("room").pk)
    assert stores.place("another").worker == "one"


def test_the_long_dead_are_forgotten_with_their_rooms() -> None:
    beat("one")
    stores.place("room")
    age("one", stores.FORGOTTEN + 5)
    beat("two")
    stores.bury()
    assert list(MediaWorker.objects.values_list("pk", flat=True)) == ["two"]
    assert not Placement.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_nodes_that_place_at_once_agree() -> None:
    for worker in ("one", "two", "three"):
        beat(worker)
    for attempt in range(5):
        gate = threading.Barrier(4)

        def place(room: str, gate: threading.Barrier = gate) -> stores.Placed:
            try:
                gate.wait(10)
                return stores.place(room)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as threads:
            found = set(threads.map(place, [f"room {attempt}"] * 4))
        assert len(found) == 1
        age(found.pop().worker, 100)  # and again, with a room that must move
        gate.reset()
        with ThreadPoolExecutor(4) as threads:
            found = set(threads.map(place, [f"room {attempt}"] * 4))
        assert len(found) == 1
        assert Placement.objects.filter(room_key=f"room {attempt}").count() == 1
        for worker in ("one", "two", "three"):
            beat(worker)
