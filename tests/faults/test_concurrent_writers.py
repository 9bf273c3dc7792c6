"""Many processes write at once: the order has no gaps, and no reader is ever overtaken by it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults import audit
from tests.faults.processes import Scripts, all_at_once, is_over, scripts
from tests.support import databases

pytestmark = [pytest.mark.slow, pytest.mark.alone]

WRITERS = 8
Place = tuple[int, int, str]


@pytest.fixture(params=databases.KINDS, scope="module")
def crowd(request: pytest.FixtureRequest) -> Iterator[Scripts]:
    """Eight writers and three readers on a database of each kind."""
    with databases.fresh(request.param) as url, scripts(url, WRITERS + 3) as processes:
        processes.run(prepare)
        yield processes


def test_eight_writers_leave_no_gap_and_overtake_no_reader(crowd: Scripts) -> None:
    before = len(crowd.run(audit.events))
    written, read = write_and_read(crowd, write, before, 500)
    assert crowd.run(audit.problems) == []
    stored = crowd.run(audit.events)[before:]
    assert len(written) == len(stored) == WRITERS * 500
    assert sorted(written) == [(event["sequence"], event["index"], event["payload"]) for event in stored]
    assert_each_writer_kept_its_order(stored)
    assert_readers_saw_everything_in_order(read, stored)


def test_writers_inside_transactions_of_their_own_are_in_the_same_order(crowd: Scripts) -> None:
    before = len(crowd.run(audit.events))
    written, read = write_and_read(crowd, write_some_in_transactions, before, 50)
    assert crowd.run(audit.problems) == []
    stored = crowd.run(audit.events)[before:]
    assert sorted(written) == [(event["sequence"], event["index"], event["payload"]) for event in stored]
    assert crowd.run(business_rows) == sorted(event["payload"] for event in stored if "business" in event["payload"])
    assert not [event for event in stored if "rolled back" in event["payload"]]
    assert_each_writer_kept_its_order(stored)
    assert_readers_saw_everything_in_order(read, stored)


# -- Helpers -----------------------------------------------------------------------------------------------------------


def write_and_read(
    crowd: Scripts, writer: Callable[..., list[Place]], before: int, count: int
) -> tuple[list[Place], dict[str, list[int]]]:
    """What the writers were told of their messages, and the sequences after ``before`` that each reader saw."""
    crowd.begin()
    readers = {"everything": crowd.start(follow_everything, before)}
    readers |= {name: crowd.start(follow, f"reader of {name}", before) for name in ("all", "odd")}
    writers = [crowd.start(writer, number, count, before) for number in range(WRITERS)]
    written = [place for future in writers for place in future.result(timeout=300)]
    crowd.end()
    return written, {name: future.result(timeout=60) for name, future in readers.items()}


def assert_readers_saw_everything_in_order(read: dict[str, list[int]], stored: list[dict[str, Any]]) -> None:
    sequences = [event["sequence"] for event in stored]
    assert read["everything"] == sequences
    assert read["all"] == sequences
    assert read["odd"] == [event["sequence"] for event in stored if event["room"] == "odd"]


def assert_each_writer_kept_its_order(stored: list[dict[str, Any]]) -> None:
    for number in range(WRITERS):
        own = [int(event["payload"].split()[1]) for event in stored if event["payload"].split()[0] == str(number)]
        assert own == sorted(own)


# -- In the processes --------------------------------------------------------------------------------------------------


def prepare() -> None:
    from django.contrib.auth.models import User

    from mana.messaging import services

    writers = [User.objects.create(username=f"writer {number}") for number in range(WRITERS)]
    of_all, of_odd = (User.objects.create(username=f"reader of {name}") for name in ("all", "odd"))
    services.create_room(of_all, key="all", members=writers)
    services.create_room(of_all, key="even", members=writers[::2])
    services.create_room(of_all, key="odd", members=[*writers[1::2], of_odd])


def write(number: int, count: int, before: int) -> list[Place]:
    from django.contrib.auth.models import User

    from mana.messaging import services

    user = User.objects.get(username=f"writer {number}")
    own_room = "odd" if number % 2 else "even"
    all_at_once()
    places = []
    for position in range(count):
        room = own_room if position % 3 else "all"
        text = f"{number} {position} after {before}"
        event = services.send(room, user, text, ack_id=text)
        assert event.sequence is not None
        assert event.index is not None
        places.append((event.sequence, event.index, text))
    return places


def write_some_in_transactions(number: int, count: int, before: int) -> list[Place]:
    """Odd writers bring business rows along, and change their mind every fifth time; even ones write beside them."""
    from django.contrib.auth.models import Group, User
    from django.db import transaction

    from mana.messaging import services

    if number % 2 == 0:
        return write(number, count, before)
    user = User.objects.get(username=f"writer {number}")
    all_at_once()
    sent = []
    for position in range(count):
        is_rolled_back = position % 5 == 4
        text = f"{number} {position} {'rolled back' if is_rolled_back else 'business'}"
        try:
            with transaction.atomic():
                Group.objects.create(name=text)
                event = services.send("odd", user, text)
                assert event.sequence is None
                if is_rolled_back:
                    raise LookupError
        except LookupError:
            continue
        sent.append(event)
    return [(event.sequence or 0, event.index or 0, event.payload) for event in sent]


def business_rows() -> list[str]:
    from django.contrib.auth.models import Group

    return sorted(Group.objects.filter(name__endswith="business").values_list("name", flat=True))


def follow(username: str, cursor: int) -> list[int]:
    """Syncs by cursor until all is over, in pages of all sizes."""
    from django.contrib.auth.models import User

    from mana.messaging import services

    user = User.objects.get(username=username)
    seen: list[int] = []
    all_at_once()
    while True:
        was_over = is_over(wait=0.02)
        batch = services.sync(user, cursor, limit=random.choice((1, 7, 100, 500)))
        sequences = [_sequence(frame) for frame in batch.frames]
        assert batch.cursor == (sequences[-1] if sequences else cursor)
        cursor = batch.cursor
        seen += sequences
        if was_over and not sequences:
            return seen


def follow_everything(cursor: int) -> list[int]:
    """Reads as a hub does: whatever the stream says is there."""
    from mana.messaging import stores

    seen: list[int] = []
    all_at_once()
    while True:
        was_over = is_over(wait=0.02)
        latest = stores.latest_sequence()
        sequences = [event.sequence for event in stores.events_between(cursor + 1, latest)]
        assert sequences == list(range(cursor + 1, latest + 1))
        cursor = latest
        seen += sequences
        if was_over and not sequences:
            return seen


def _sequence(frame: bytes) -> int:
    import msgspec

    return int(msgspec.json.decode(frame)["sequence"])
