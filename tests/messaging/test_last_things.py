"""The end of rooms, invitations and accounts: it comes once, is told to all concerned, and nobody gets in after it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from mana import accounts, signals
from mana.messaging import services, stores
from mana.messaging.models import Membership, Message, PersonalEvent, Room
from mana.messaging.sequencer import sequence_pending
from mana.protocol import ErrorCode, ManaError
from tests.support.receivers import connected, refuse

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def _person(name: str) -> Any:
    return accounts.register(username=name, password="a-long-one-7")


@pytest.fixture
def ann() -> Any:
    """An owner of rooms."""
    return _person("ann")


@pytest.fixture
def ben() -> Any:
    """Somebody else."""
    return _person("ben")


def _told(user: Any) -> list[str]:
    """The actions that one person alone was told of."""
    events = PersonalEvent.objects.filter(user=user, kind="room").order_by("sequence")
    return [json.loads(event.payload_json)["action"] for event in events]


def test_nobody_gets_into_a_room_that_was_deleted_meanwhile(
    ann: Any, ben: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = services.create_room(ann, is_private=False).room
    services.delete_room(room.key, ann)
    monkeypatch.setattr(stores, "room_by_key", lambda *arguments, **options: room)  # as it was read before
    with pytest.raises(ManaError) as refused:
        services.join(room.key, ben)
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert not Membership.objects.filter(user=ben, state=Membership.State.JOINED).exists()


def test_who_joins_in_the_transaction_that_deletes_a_room_is_not_in_it(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, is_private=False).room
    with transaction.atomic():
        services.delete_room(room.key, ann)
        services.join(room.key, ben)
    sequence_pending()
    assert Room.objects.get().deleted_at is not None
    assert not Membership.objects.filter(state=Membership.State.JOINED).exists()
    assert Room.objects.get().member_count == 0


def test_a_room_is_deleted_once(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, members=[ben]).room
    event = services.delete_room(room.key, ann).event
    assert event is not None
    with pytest.raises(ManaError):
        services.delete_room_as_staff(room)
    row = Membership.objects.get(user=ben)
    assert (row.first_index, row.last_index) == (event.index, event.index), "a device that was away learns of it"


def test_a_room_that_somebody_came_back_to_is_not_pruned(ann: Any) -> None:
    room = services.create_room(ann).room
    assert services.delete_room_as_staff(room, only_if_empty=True).event is None
    services.leave(room.key, ann)
    assert services.delete_room_as_staff(room, only_if_empty=True).event is not None


def test_who_is_invited_is_told_that_the_invitation_is_gone(ann: Any) -> None:
    people = [_person(name) for name in ("removed", "banned", "deleted")]
    room = services.create_room(ann).room
    services.invite(room.key, ann, people)
    services.remove_member(room.key, ann, people[0])
    services.ban(room.key, ann, people[1])
    services.delete_room(room.key, ann)
    assert [_told(one) for one in people] == [["invited", "removed"], ["invited", "banned"], ["invited", "deleted"]]


def test_only_an_owner_gives_a_room_away_whatever_they_may_delete(ann: Any, ben: Any) -> None:
    accounts.grant(ben, "moderator")
    carol = _person("carol")
    room = services.create_room(ann, members=[ben, carol]).room
    with pytest.raises(ManaError) as refused:
        services.transfer_ownership(room.key, ben, carol)
    assert refused.value.code is ErrorCode.FORBIDDEN
    roles = dict(Membership.objects.values_list("user__username", "role"))
    assert roles == {"ann": "owner", "ben": "member", "carol": "member"}


def test_who_may_refuse_a_deletion_is_asked_before_anything_is_left(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, members=[ben]).room

    with connected(signals.account_deleting, refuse), pytest.raises(RuntimeError):
        accounts.delete_account(ann)
    row = Membership.objects.get(room=room, user=ann)
    assert (row.state, row.role) == ("joined", "owner")


def test_an_account_that_goes_in_a_transaction_is_counted_out_of_its_rooms(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, members=[ben]).room
    with transaction.atomic():
        accounts.delete_account(ben)
    sequence_pending()
    assert Room.objects.get(pk=room.pk).member_count == 1


def test_what_is_sent_in_a_transaction_is_read_by_its_sender_and_kept_to_slow_mode(ann: Any, ben: Any) -> None:
    room = services.create_room(ann, members=[ben]).room
    services.update_room(room.key, ann, slow_mode=60)
    with transaction.atomic():
        services.send(room.key, ben, "one")
        with pytest.raises(ManaError) as refused:
            services.send(room.key, ben, "two")
        services.send(room.key, ann, "owners may")
        services.send(room.key, ann, "as often as they like")
    sequence_pending()
    assert (refused.value.code, 0 < (refused.value.retry_after or 0) <= 60) == (ErrorCode.RATE_LIMITED, True)
    for sender in (ann, ben):
        newest = Message.objects.filter(sender=sender, kind="message").latest("index")
        assert Membership.objects.get(user=sender).read_index == newest.index
    for _ in range(2):
        with pytest.raises(ManaError), transaction.atomic():
            services.send(room.key, ben, "two")
    Membership.objects.filter(user=ben).update(last_message_at=timezone.now() - timedelta(seconds=61))
    services.send(room.key, ben, "two")


@pytest.mark.parametrize("number", ["1e999", "9" * 5000, "[1E+400]"])
def test_a_number_that_not_everybody_can_read_is_not_taken(ann: Any, number: str) -> None:
    room = services.create_room(ann).room
    for refused in (f'{{"text": "x", "n": {number}}}'.encode(), number.encode()):
        with pytest.raises(ManaError) as error:
            services.send(room.key, ann, refused)
        assert error.value.code is ErrorCode.INVALID
    text = f"1e999 {number} as a text"
    assert services.send(room.key, ann, {"text": text, "n": [1e300, 2**63]}).payload["text"] == text
