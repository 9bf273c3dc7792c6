"""Numbered batches of events over a way that loses, repeats and reorders."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.sfu.backend import SpeakersChanged
from mana_rtc.workers.messages import Batch
from mana_rtc.workers.streams import IN_FLIGHT, KEPT, Inbox, Outbox


def event(number: int) -> SpeakersChanged:
    return SpeakersChanged(room="room", to=["one"], dominant=str(number), speakers=[])


@given(st.integers(0, 2**32), st.floats(0, 0.6))
def test_every_event_comes_once_and_in_order(seed: int, loss: float) -> None:
    chance = random.Random(seed)
    wire: list[Batch] = []
    outbox, inbox = Outbox("worker", "stream", wire.append), Inbox("stream")
    got: list[str | None] = []
    sent = now = 0.0
    for _ in range(400):
        now += IN_FLIGHT
        if sent < 40:
            outbox.add(event(int(sent)))
            outbox.flush(now)
            sent += 1
        arriving = [one for one in wire for _ in range(chance.choice((1, 1, 2))) if chance.random() >= loss]
        wire.clear()
        chance.shuffle(arriving)
        got += [one.dominant for batch in arriving for one in inbox.take(batch) if isinstance(one, SpeakersChanged)]
        if chance.random() >= loss:  # comparisons are lost as well
            outbox.seen(inbox.seen, now)
        if len(got) == 40:
            break
    assert got == [str(number) for number in range(40)]


def test_events_of_one_turn_go_together() -> None:
    sent: list[Batch] = []
    outbox = Outbox("worker", "stream", sent.append)
    assert [outbox.add(event(number)) for number in range(3)] == [True, False, False]
    outbox.flush(0)
    outbox.flush(0)
    assert [len(batch.events) for batch in sent] == [3]


def test_what_is_seen_is_not_sent_again() -> None:
    sent: list[Batch] = []
    outbox = Outbox("worker", "stream", sent.append)
    for number in range(3):
        outbox.add(event(number))
        outbox.flush(0)
    outbox.seen(2, IN_FLIGHT)
    assert [batch.number for batch in sent] == [1, 2, 3, 3]
    assert (outbox.oldest, outbox.newest) == (3, 3)
    outbox.seen(3, 9)
    assert (outbox.oldest, outbox.newest) == (4, 3)


def test_no_more_is_kept_than_is_bounded() -> None:
    outbox, inbox = Outbox("worker", "stream", lambda batch: None), Inbox("stream")
    for number in range(KEPT + 10):
        outbox.add(event(number))
        outbox.flush(0)
    assert outbox.oldest == 11
    for number in range(2, 2 * KEPT):
        inbox.take(Batch(worker="worker", stream="stream", number=number, events=[]))
    assert len(inbox._early) == KEPT


def test_another_streams_events_are_none_of_ours() -> None:
    inbox = Inbox("new")
    assert inbox.take(Batch(worker="worker", stream="old", number=1, events=[event(1)])) == []
    assert inbox.seen == 0
