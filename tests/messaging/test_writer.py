"""The group-commit writer: what waits is one transaction, acks follow the commit, and no more waits than may."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from mana.accounts.stores import Person
from mana.messaging import writer
from mana.messaging.drafts import Draft, Placed
from mana.messaging.writer import Writer
from mana.protocol import ErrorCode, ManaError
from mana.realtime.hooks import Hooks

SENDER = Person(1, "1", "ann", "Ann")


class SlowStore:
    """A store whose transactions end when the test says so."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.committing = threading.Event()
        self.may_commit = threading.Event()

    def save(self, drafts: Sequence[Draft]) -> tuple[list[Placed], list[Any]]:
        self.batches.append(len(drafts))
        self.committing.set()
        assert self.may_commit.wait(10)
        return [Placed(draft.id, draft.room_key, 1, 1, datetime.now(UTC)) for draft in drafts], []


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowStore]:
    made = SlowStore()
    monkeypatch.setattr(writer, "message_store", lambda: made)
    yield made
    made.may_commit.set()


def a_writer() -> Writer:
    hub = SimpleNamespace(loop=asyncio.get_running_loop(), hooks=Hooks(), announce=lambda announcements: None)
    return Writer(hub)  # type: ignore[arg-type]


def draft() -> Draft:
    return Draft("room", SENDER, "1")


async def until_committing(store: SlowStore) -> None:
    assert await asyncio.to_thread(store.committing.wait, 10)


async def test_what_waits_while_a_transaction_runs_is_the_next_transaction(store: SlowStore) -> None:
    made, answers = a_writer(), []
    made.submit(draft(), answers.append)
    await until_committing(store)
    for _ in range(99):
        made.submit(draft(), answers.append)
    store.may_commit.set()
    await made.settle()
    assert store.batches == [1, 99]
    assert len(answers) == 100
    await made.stop()


async def test_nobody_is_answered_before_the_commit(store: SlowStore) -> None:
    made, answers = a_writer(), []
    made.submit(draft(), answers.append)
    await until_committing(store)
    assert answers == []
    store.may_commit.set()
    await made.settle()
    assert [type(answer) for answer in answers] == [Placed]
    await made.stop()


async def test_of_more_than_may_wait_the_rest_is_refused(store: SlowStore, settings: Any) -> None:
    settings.MANA = {"WRITER_QUEUE_SIZE": 10}
    made = a_writer()
    made.submit(draft(), lambda result: None)
    await until_committing(store)
    for _ in range(10):
        made.submit(draft(), lambda result: None)
    with pytest.raises(ManaError) as refused:
        made.submit(draft(), lambda result: None)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    assert refused.value.retry_after
    assert made.waiting == 10
    store.may_commit.set()
    await made.stop()


async def test_while_the_database_does_not_answer_no_more_is_taken(store: SlowStore, settings: Any) -> None:
    made, answers = a_writer(), []
    made.submit(draft(), answers.append)
    await until_committing(store)
    settings.MANA = {"WRITER_STUCK_AFTER": 0.0}
    with pytest.raises(ManaError) as refused:
        made.submit(draft(), answers.append)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    store.may_commit.set()
    await made.settle()
    made.submit(draft(), answers.append)  # it answers again
    await made.settle()
    assert [type(answer) for answer in answers] == [Placed, Placed]
    await made.stop()
