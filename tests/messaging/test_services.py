"""The services as a Django project calls them: in its own code, on every database."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.test import override_settings

from mana import messages, rooms, signals
from mana.accounts import services as accounts
from mana.messaging import publish, services
from mana.messaging.models import Membership, Message, Room, Stream
from mana.messaging.policies import MessagingPolicy
from mana.protocol import ErrorCode, ManaError
from tests.support import databases

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def user() -> Callable[[str], Any]:
    """Makes users."""
    return lambda name: get_user_model()._default_manager.create_user(username=name)  # type: ignore[attr-defined]


@pytest.fixture
def ann(user: Callable[[str], Any]) -> Any:
    """Somebody."""
    return user("ann")


@pytest.fixture
def ben(user: Callable[[str], Any]) -> Any:
    """Somebody else."""
    return user("ben")


def _refused(code: ErrorCode, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    with pytest.raises(ManaError) as refused:
        function(*args, **kwargs)
    assert refused.value.code is code


def test_the_short_names_are_the_services() -> None:
    assert messages.send is services.send
    assert messages.edit is services.edit
    assert rooms.create_room is services.create_room
    page = (databases.ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    for name, module in (("messages", messages), ("rooms", rooms)):
        (line,) = re.findall(rf"^\| `{name}` \|(.*)", page, re.MULTILINE)
        told = {one for one in re.findall(r"`(\w+)`", line) if one != "a"}
        twins = {f"a{one}" for one in module.__all__}
        assert told - twins == set(module.__all__) - twins, "the page lists what there is"
        assert {one for one in module.__all__ if f"a{one}" not in module.__all__} - twins <= {
            "upload",
            "discard_upload",
            "set_avatar",
        }


def test_rooms_are_read_by_who_is_in_them(ann: Any, ben: Any) -> None:
    first = services.create_room(ann, name="First", members=[ben]).room
    second = services.create_room(ann, name="Second", is_private=False).room
    services.send(first, ann, "newest")
    assert [room.key for room in rooms.rooms_of(ann)] == [first.key, second.key]
    assert [room.key for room in rooms.rooms_of(ben, limit=5)] == [first.key]
    assert [(row.user, row.role) for row in rooms.members(first.key, ben)] == [(ann, "owner"), (ben, "member")]
    assert rooms.get(first.key, ben) == first
    assert [room.key for room in rooms.public("seC\x00")] == [second.key]
    _refused(ErrorCode.NOT_A_MEMBER, rooms.members, second.key, ben)
    _refused(ErrorCode.NOT_FOUND, rooms.get, "nowhere", ben)


def test_places_follow_one_another_over_rooms(ann: Any, ben: Any) -> None:
    one = services.create_room(ann, name="one", members=[ben]).room
    two = services.create_room(ben, name="two").room
    first = services.send(one, ann, {"text": "first"})
    second = services.send(two, ben, "second")
    third = services.send(one.key, ben, [3])
    assert [m.sequence for m in (first, second, third)] == [3, 4, 5]
    assert [m.index for m in (first, second, third)] == [2, 2, 3]
    assert [m.number for m in (first, second, third)] == [1, 1, 2]
    assert Stream.objects.get().sequence == 5
    one.refresh_from_db()
    assert (one.last_index, one.last_sequence, one.message_count, one.member_count) == (3, 5, 2, 2)
    assert third.payload == [3]


def test_names_that_differ_in_case_or_accent_are_different_rooms(ann: Any) -> None:
    keys = ["tea", "Tea", "TEA", "téa", "tea.", "茶"]
    for key in keys:
        services.create_room(ann, key=key)
    assert set(Room.objects.values_list("key", flat=True)) == set(keys)
    _refused(ErrorCode.CONFLICT, services.create_room, ann, key="tea")


def test_ack_ids_that_differ_in_case_are_different(ann: Any) -> None:
    room = services.create_room(ann).room
    one = services.send(room, ann, 1, ack_id="abc")
    other = services.send(room, ann, 2, ack_id="ABC")
    again = services.send(room, ann, 3, ack_id="abc")
    assert one.pk == again.pk != other.pk
    assert again.payload == 1


@pytest.mark.parametrize("text", ["\x00 null", "🦜 parrot", "\u2028", "'); DROP TABLE mana_message; --", "%s %d"])
def test_any_text_is_stored(ann: Any, text: str) -> None:
    room = services.create_room(ann).room
    services.send(room, ann, {"text": text})
    assert services.sync(ann).frames
    assert Message.objects.get(kind="message").payload == {"text": text}


def test_a_message_that_the_database_can_not_take_fails_alone(ann: Any) -> None:
    from mana.accounts.stores import person
    from mana.messaging.drafts import Draft
    from mana.messaging.sequencer import commit

    room = services.create_room(ann).room
    sender = person(ann.pk)
    assert sender is not None
    good, bad, last = (
        Draft(room.key, sender, "1"),
        Draft(room.key, sender, "2", device_id="\x00" * 65),
        Draft(room.key, sender, "3"),
    )
    results, events = commit([good, bad, last])
    stored = [event.payload for event in events]
    assert stored[0] == 1
    assert stored[-1] == 3
    assert [event.index for event in events] == list(range(2, 2 + len(events)))
    if isinstance(results[1], ManaError):  # SQLite takes anything
        assert results[1].code is ErrorCode.INTERNAL


def test_a_batch_gives_each_draft_its_own_answer(ann: Any, ben: Any) -> None:
    from mana.accounts.stores import person
    from mana.messaging.drafts import Draft, Placed
    from mana.messaging.sequencer import commit

    room = services.create_room(ann).room
    a, b = person(ann.pk), person(ben.pk)
    assert a is not None
    assert b is not None
    results, events = commit(
        [
            Draft(room.key, a, "1", ack_id="x"),
            Draft(room.key, b, "2"),
            Draft(room.key, a, "3", ack_id="x"),
            Draft("nowhere", a, "4"),
            Draft(room.key, a, "5"),
        ]
    )
    assert [getattr(result, "code", None) for result in results] == [None, "not_found", None, "not_found", None]
    first, _, again, _, last = results
    assert isinstance(first, Placed)
    assert isinstance(again, Placed)
    assert isinstance(last, Placed)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.message_id == again.message_id
    assert (first.index, last.index) == (2, 3)
    assert len(events) == 2


def test_a_direct_room_is_one_for_two(ann: Any, ben: Any) -> None:
    one, other = services.direct_room(ann, ben).room, services.direct_room(ben, ann).room
    assert one.pk == other.pk
    message = services.send_direct(ben, ann, "hi")
    assert message.room_id == one.pk
    alone = services.direct_room(ann, ann).room
    assert alone.member_count == 1
    assert services.send(alone, ann, "note to self").index == 2


class Blocked(MessagingPolicy):
    """What a project may plug in."""

    def may_message_directly(self, person: Any, other_user_id: str) -> None:
        """Nobody writes to ben."""
        if person.username != "ben":
            raise ManaError(ErrorCode.FORBIDDEN, "They do not want to hear from you.")


def test_the_policy_may_stop_direct_messages(ann: Any, ben: Any) -> None:
    room = services.direct_room(ann, ben).room
    with override_settings(MANA={"MESSAGING_POLICY": f"{__name__}.Blocked"}):
        _refused(ErrorCode.FORBIDDEN, services.send, room, ann, "hello?")
        _refused(ErrorCode.FORBIDDEN, services.send_direct, ann, ben, "hello?")
        services.send(room, ben, "I may")
    services.send(room, ann, "again")


def test_signals_tell_after_the_commit(ann: Any, ben: Any) -> None:
    told: list[tuple[str, Any]] = []
    in_transaction: list[bool] = []

    def stored(message: Message, **kwargs: Any) -> None:
        in_transaction.append(connections[Message.objects.db].in_atomic_block)
        assert Message.objects.filter(pk=message.pk, sequence=message.sequence).exists()
        told.append(("stored", message.payload))

    async def sent(message: Message, **kwargs: Any) -> None:
        told.append(("sent", message.payload))

    def joined(room: Room, user: Any, **kwargs: Any) -> None:
        in_transaction.append(connections[Message.objects.db].in_atomic_block)
        told.append(("joined", user.username))

    def left(user: Any, removed: bool, **kwargs: Any) -> None:
        in_transaction.append(connections[Message.objects.db].in_atomic_block)
        told.append(("removed" if removed else "left", user.username))

    def fails(**kwargs: Any) -> None:
        raise RuntimeError("a receiver's own trouble")

    receivers = [
        (signals.message_stored, fails),
        (signals.message_stored, stored),
        (signals.message_sent, sent),
        (signals.user_joined, joined),
        (signals.user_left, left),
    ]
    for signal, receiver in receivers:
        signal.connect(receiver)
    try:
        room = services.create_room(ann).room
        services.add_members(room.key, ann, [ben])
        services.send(room, ann, "hi")
        services.leave(room.key, ben)
        services.add_members(room.key, ann, [ben])
        services.remove_member(room.key, ann, ben)
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)
    assert told == [
        ("joined", "ann"),
        ("joined", "ben"),
        ("stored", "hi"),
        ("sent", "hi"),
        ("left", "ben"),
        ("joined", "ben"),
        ("removed", "ben"),
    ]
    assert in_transaction == [False] * 6


def test_what_is_rolled_back_is_told_to_nobody(ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[Any] = []
    stored: list[Any] = []
    monkeypatch.setattr(publish, "announce", announced.extend)

    def hear(message: Message, **kwargs: Any) -> None:
        stored.append(message.payload)

    room = services.create_room(ann).room
    announced.clear()
    signals.message_stored.connect(hear)
    try:
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            services.send(room, ann, "never")
            raise ZeroDivisionError
        assert (stored, announced) == ([], [])
        with transaction.atomic():
            services.send(room, ann, "at last")
            assert (stored, announced) == ([], [])
        assert (stored, len(announced)) == (["at last"], 1)
    finally:
        signals.message_stored.disconnect(hear)


def test_a_banned_member_neither_returns_nor_is_brought_back(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, is_private=False, members=[ben]).room
    services.remove_member(room.key, ann, ben)
    Membership.objects.filter(room=room, user=ben).update(state=Membership.State.BANNED)
    _refused(ErrorCode.FORBIDDEN, services.join, room.key, ben)
    assert services.add_members(room.key, ann, [ben]).event is None


def test_deleting_an_account_leaves_what_it_said(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, members=[ben]).room
    services.send(room, ben, "remember me")
    ben.delete()
    frames = services.history(room.key, ann).frames
    assert b'"payload":"remember me"' in frames[-1]
    assert b'"from"' not in frames[-1]


async def test_the_async_twins_work_without_a_server(ann: Any, ben: Any) -> None:
    room = (await services.acreate_room(ann, members=[ben])).room
    sent = await services.asend(room, ann, "async")
    assert sent.index == 2
    assert (await services.async_(ben)).cursor == sent.sequence
    page = await services.ahistory(room.key, ben, limit=1)
    assert page.indexes == [2]
    assert (await services.amark(room.key, ben, sent.sequence or 0, "read")).moved
    await services.aleave(room.key, ben)
    with pytest.raises(ManaError):
        await services.asend(room, ben, "too late")
    await sync_to_async(connections.close_all)()  # of the thread that served this test


def test_account_created_is_told(ann: Any) -> None:
    told = []

    def receive(user: Any, **kwargs: Any) -> None:
        told.append(user.username)

    signals.account_created.connect(receive)
    try:
        accounts.register(username="newcomer", password="a-long-one-7")
        accounts.guest_identity("guesty", "Guesty")
        accounts.guest_identity("guesty", "Guesty")
    finally:
        signals.account_created.disconnect(receive)
    assert told == ["newcomer", "guest:guesty"]


def test_a_disabled_user_is_refused(ann: Any) -> None:
    tokens = accounts.sign_in(ann)
    accounts.identity_from_token(tokens.access)
    ann.is_active = False
    ann.save()
    _refused(ErrorCode.UNAUTHENTICATED, accounts.identity_from_token, tokens.access)
    _refused(ErrorCode.REVOKED, accounts.refresh, tokens.refresh)


@pytest.mark.parametrize("user_id", ["0", "-1", "99999999999999999999999", "1e5", "x", "", "1\x00", "٣", " 1"])
def test_wire_ids_that_name_nobody(user_id: str) -> None:
    assert accounts.resolve([user_id]) == {}


def test_an_owner_who_removes_themselves_has_an_heir_whose_account_is_enabled(
    ann: Any, ben: Any, user: Callable[[str], Any]
) -> None:
    room = services.create_room(ann, name="Kitchen", members=[ben]).room
    services.add_members(room.key, ann, [user("cat")])
    accounts.disable(ben)
    services.remove_member(room.key, ann, ann)
    owners = Membership.objects.filter(room=room, role="owner", state="joined")
    assert [row.user.get_username() for row in owners] == ["cat"]


def test_a_row_of_foreign_code_that_does_not_say_when_somebody_came_keeps_its_bounds(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, name="garden").room
    sent = [services.send(room, ann, number) for number in range(3)]
    Membership.objects.create(room=room, user=ben, first_index=sent[2].index)
    batch = services.sync(ben, 0)
    assert [json.loads(frame)["payload"] for frame in batch.frames] == [2]


def test_a_room_that_goes_while_somebody_catches_up_takes_no_other_with_it(ann: Any, ben: Any) -> None:
    gone, stays = (services.create_room(ann, members=[ben], name=name).room for name in ("gone", "stays"))
    for number in range(4):
        services.send(gone, ann, f"gone {number}")
        services.send(stays, ann, f"stays {number}")
    going = [gone.pk]

    def go(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if going and re.search(r"FROM .mana_room. WHERE .mana_room.\..id. IN", sql):
            Room.objects.filter(pk=going.pop()).delete()
        return execute(sql, *rest)

    texts: list[str] = []
    cursor, more = 0, True
    with connections["default"].execute_wrapper(go):
        while more:
            batch = services.sync(ben, cursor, limit=5)
            frames = [json.loads(frame) for frame in batch.frames]
            texts += [frame["payload"] for frame in frames if frame["type"] == "message"]
            cursor, more = batch.cursor, batch.has_more
    assert not going
    assert texts == [f"stays {number}" for number in range(4)]
