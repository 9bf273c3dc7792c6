"""Several threads at the same message, room or link: on every database nobody gets more than is allowed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import override_settings

from mana.messaging import services
from mana.messaging.models import Invite, Membership, Message, Reaction, Revision, Room, Stream
from mana.moderation import services as moderation
from mana.moderation.models import Report
from mana.protocol import ManaError

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def _users(count: int) -> list[Any]:
    make = get_user_model()._default_manager.create_user  # type: ignore[attr-defined]
    return [make(username=f"person-{number}") for number in range(count)]


def _race(*calls: Callable[[], Any]) -> list[Any]:
    """Runs calls at the same moment, each in a thread of its own; what they gave, or their refusals."""
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(position: int, call: Callable[[], Any]) -> None:
        start.wait(30)
        try:
            results[position] = call()
        except ManaError as refusal:
            results[position] = refusal
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(position, call)) for position, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert None not in results
    return results


def _refused(results: list[Any]) -> int:
    return sum(isinstance(result, ManaError) for result in results)


def _check_order() -> None:
    sequences = list(Message.objects.order_by("sequence").values_list("sequence", flat=True))
    assert sequences == list(range(1, len(sequences) + 1))
    assert Stream.objects.get().sequence == len(sequences)


def test_a_link_lets_in_no_more_than_it_allows() -> None:
    owner, *crowd = _users(7)
    room = services.create_room(owner).room
    invite = services.create_invite(room.key, owner, max_uses=2)
    results = _race(*(lambda one=one: services.accept_invite(invite.token, one) for one in crowd))  # type: ignore[misc]
    assert _refused(results) == 4
    assert Membership.objects.filter(room=room, state="joined").count() == 3
    assert Invite.objects.get().uses == 2
    room.refresh_from_db()
    assert room.member_count == 3
    _check_order()


def test_the_same_person_uses_a_link_once() -> None:
    owner, guest = _users(2)
    room = services.create_room(owner).room
    invite = services.create_invite(room.key, owner, max_uses=5)
    _race(*[lambda: services.accept_invite(invite.token, guest)] * 4)
    assert Invite.objects.get().uses == 1
    assert Membership.objects.filter(room=room).count() == 2
    _check_order()


def test_edits_are_one_after_another() -> None:
    (ann,) = _users(1)
    message = services.send(services.create_room(ann).room, ann, "0")
    _race(*(lambda n=n: services.edit(message.pk, ann, str(n)) for n in range(1, 6)))  # type: ignore[misc]
    said = [revision.payload_json.strip('"') for revision in Revision.objects.order_by("index")]
    assert said[0] == "0"
    assert sorted([*said, Message.objects.get(pk=message.pk).payload]) == ["0", "1", "2", "3", "4", "5"]
    _check_order()


@pytest.mark.parametrize("attempt", range(3))
def test_an_edit_never_brings_back_what_is_deleted(attempt: int) -> None:
    (ann,) = _users(1)
    message = services.send(services.create_room(ann).room, ann, "secret")
    _race(
        lambda: services.edit(message.pk, ann, "secret again"),
        lambda: services.delete(message.pk, ann),
        lambda: services.edit(message.pk, ann, "secret as ever"),
    )
    assert Message.objects.get(pk=message.pk).payload is None
    assert not Revision.objects.exists()
    assert not Message.objects.filter(payload_json__contains="secret").exists()
    _check_order()


def test_a_reaction_is_put_once_and_limits_hold() -> None:
    ann, *others = _users(4)
    room = services.create_room(ann, members=others).room
    message = services.send(room, ann, "x")
    _race(*[lambda: services.react(message.pk, ann, "👍")] * 4)
    assert Reaction.objects.count() == 1
    with override_settings(MANA={"REACTIONS_MAX": 2}):
        results = _race(
            *(
                lambda one=one, emoji=emoji: services.react(message.pk, one, emoji)  # type: ignore[misc]
                for one, emoji in zip(others, "🎂🎉🚀", strict=True)
            )
        )
    assert _refused(results) == 2
    message.refresh_from_db()
    assert message.reaction_count == Reaction.objects.count() == 2
    _check_order()


def test_a_file_goes_with_one_message() -> None:
    from django.core.files.base import ContentFile

    from mana.messaging.services.attachments import Upload

    (ann,) = _users(1)
    room = services.create_room(ann).room
    file = services.upload(ann, Upload(ContentFile(b"data"), "x.txt", 4))
    results = _race(*[lambda: services.send(room, ann, "mine", attachments=[file.pk])] * 4)
    assert _refused(results) == 3
    carrying = [event for event in Message.objects.filter(kind="message") if event.extra_json]
    file.refresh_from_db()
    assert [event.pk for event in carrying] == [file.message_id]


def test_two_owners_who_leave_at_once_leave_an_owner_behind() -> None:
    ann, ben, cat = _users(3)
    room = services.create_room(ann, members=[ben, cat]).room
    services.set_role(room.key, ann, ben, "owner")
    _race(lambda: services.leave(room.key, ann), lambda: services.leave(room.key, ben))
    assert Membership.objects.get(user=cat).role == "owner"
    assert Room.objects.get().member_count == 1
    _check_order()


def test_one_report_of_a_thing_however_often_it_is_pressed() -> None:
    ann, ben = _users(2)
    results = _race(*[lambda: moderation.report_user(ann, ben, reason="spam")] * 4)
    assert _refused(results) == 3
    assert Report.objects.count() == 1
