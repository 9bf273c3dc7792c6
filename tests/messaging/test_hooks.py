"""``message_sending``: asked on every way that a message may come, before it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from mana import signals
from mana.messaging import services
from mana.messaging.drafts import Draft
from mana.messaging.models import Message, Room
from mana.protocol import ErrorCode, ManaError

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

WORDS = {"darn"}


@pytest.fixture
def ann() -> Any:
    """Somebody."""
    return get_user_model()._default_manager.create_user(username="ann")  # type: ignore[attr-defined]


@pytest.fixture
def hook() -> Iterator[Callable[..., None]]:
    """Connects receivers for the length of a test."""
    connected: list[Any] = []

    def connect(receiver: Any) -> None:
        signals.message_sending.connect(receiver)
        connected.append(receiver)

    yield connect
    for receiver in connected:
        signals.message_sending.disconnect(receiver)


def _polite(draft: Draft, **kwargs: Any) -> None:
    if WORDS & set(str(draft.payload).split()):
        raise ManaError(ErrorCode.FORBIDDEN, "Mind your language.")


async def _starred(draft: Draft, **kwargs: Any) -> None:
    draft.payload = str(draft.payload).replace("heck", "h***")


def _room(user: Any) -> Room:
    return services.create_room(user).room


def test_a_receiver_refuses_a_message(ann: Any, hook: Callable[..., None]) -> None:
    hook(_polite)
    room = _room(ann)
    with pytest.raises(ManaError, match="language"):
        services.send(room, ann, "darn it")
    assert services.send(room, ann, "dear me").index == 2


def test_an_async_receiver_changes_a_message(ann: Any, hook: Callable[..., None]) -> None:
    hook(_starred)
    message = services.send(_room(ann), ann, "what the heck")
    assert message.payload == "what the h***"
    assert Message.objects.get(pk=message.pk).payload == "what the h***"


def test_it_is_asked_inside_a_callers_transaction(ann: Any, hook: Callable[..., None]) -> None:
    hook(_polite)
    room = _room(ann)
    with transaction.atomic():
        services.send(room, ann, "fine")
        with pytest.raises(ManaError, match="language"):
            services.send(room, ann, "darn it")
    assert [event.payload for event in Message.objects.filter(kind="message")] == ["fine"]


def test_it_is_asked_for_edits(ann: Any, hook: Callable[..., None]) -> None:
    asked: list[Any] = []
    hook(_polite)
    hook(lambda draft, **kwargs: asked.append(draft.edits))
    message = services.send(_room(ann), ann, "fine")
    with pytest.raises(ManaError, match="language"):
        services.edit(message.pk, ann, "darn")
    assert services.edit(message.pk, ann, "still fine").message.payload == "still fine"
    assert asked == [None, message.pk, message.pk]


def test_a_receiver_that_fails_lets_the_message_pass(
    ann: Any, hook: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**kwargs: Any) -> None:
        raise RuntimeError("its own trouble")

    hook(fails)
    hook(_starred)
    assert services.send(_room(ann), ann, "heck").payload == "h***"
    assert "its own trouble" in caplog.text


def test_a_refusal_is_no_failure(ann: Any, hook: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    hook(_polite)
    with pytest.raises(ManaError):
        services.send(_room(ann), ann, "darn")
    assert not caplog.records


def test_a_payload_that_a_receiver_makes_is_checked(ann: Any, hook: Callable[..., None]) -> None:
    def empties(draft: Draft, **kwargs: Any) -> None:
        draft.payload = ""

    hook(empties)
    with pytest.raises(ManaError) as refused:
        services.send(_room(ann), ann, "x")
    assert refused.value.code is ErrorCode.EMPTY_PAYLOAD


def test_of_what_the_writer_takes_at_once_a_bad_message_fails_alone(ann: Any, hook: Callable[..., None]) -> None:
    hook(_polite)
    key = _room(ann).key

    async def send() -> list[Any]:
        from mana.realtime import hub as hubs

        hub = hubs.current()
        await hub.start()
        try:
            words = ["one", "darn", "two", "three"]
            return await asyncio.gather(*(services.asend(key, ann, word) for word in words), return_exceptions=True)
        finally:
            await hub.stop()

    results = asyncio.run(send())
    assert [getattr(result, "code", None) for result in results] == [None, ErrorCode.FORBIDDEN, None, None]
    stored = Message.objects.filter(kind="message").order_by("sequence")
    assert sorted(event.payload for event in stored) == ["one", "three", "two"]
