"""Changes of messages and rooms inside the application's own transactions: both or neither, and nobody waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from mana.messaging import sequencer, services
from mana.messaging.models import Hidden, Membership, Mention, Message, PersonalEvent, Pin, Reaction, Revision, Room
from mana.protocol import ManaError

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


class Scene:
    """Ann's room with ben in it and a message of hers."""

    def __init__(self) -> None:
        make = get_user_model()._default_manager.create_user  # type: ignore[attr-defined]
        self.ann, self.ben, self.cat = make(username="ann"), make(username="ben"), make(username="cat")
        self.room: Room = services.create_room(self.ann, key="tea", members=[self.ben]).room
        self.message = services.send(self.room, self.ann, "one")

    def now(self) -> Message:
        """The message as it is."""
        return Message.objects.get(pk=self.message.pk)

    def kinds(self) -> list[str]:
        """What has happened in the room."""
        return list(self.room.messages.order_by("index").values_list("kind", flat=True))


@pytest.fixture
def scene() -> Scene:
    """A fresh one."""
    return Scene()


def test_everything_happens_at_the_commit_and_in_its_order(scene: Scene) -> None:
    with transaction.atomic():
        event = services.edit(scene.message.pk, scene.ann, "two").event
        services.react(scene.message.pk, scene.ben, "👍")
        services.pin(scene.message.pk, scene.ann)
        services.hide(scene.message.pk, scene.ben)
        assert event is not None
        assert event.sequence is None
        assert (scene.now().payload, scene.now().reaction_count) == ("one", 0)
        assert not Pin.objects.exists()
    assert (scene.now().payload, scene.now().reaction_count) == ("two", 1)
    assert [revision.payload_json for revision in Revision.objects.all()] == ['"one"']
    assert Pin.objects.get().message_id == scene.message.pk
    assert event.index == 3
    assert scene.kinds() == ["room", "message", "edit", "reaction", "room"]
    assert PersonalEvent.objects.get().sequence == 6
    assert b'"one"' not in b"".join(services.sync(scene.ben).frames)


def test_what_is_rolled_back_never_was(scene: Scene) -> None:
    with transaction.atomic():
        services.edit(scene.message.pk, scene.ann, "two")
        services.react(scene.message.pk, scene.ben, "👍")
        services.hide(scene.message.pk, scene.ben)
        services.delete(scene.message.pk, scene.ann)
        transaction.set_rollback(True)
    assert scene.now().payload == "one"
    assert scene.kinds() == ["room", "message"]
    for model in (Revision, Reaction, Hidden, PersonalEvent):
        assert not model.objects.exists()  # type: ignore[attr-defined]
    assert services.send(scene.room, scene.ben, "next").sequence == 3


def test_a_deletion_leaves_no_trace_of_what_an_edit_before_it_said(scene: Scene) -> None:
    with transaction.atomic():
        services.edit(scene.message.pk, scene.ann, "a secret")
        services.delete(scene.message.pk, scene.ann)
    assert scene.now().payload is None
    assert not Revision.objects.exists()
    assert not Message.objects.filter(payload_json__contains="secret").exists()


def test_a_message_is_changed_in_the_transaction_that_sends_it(scene: Scene) -> None:
    with transaction.atomic():
        sent = services.send(scene.room, scene.ben, "draft", mentions=[str(scene.ann.pk)])
        services.edit(sent.pk, scene.ben, "final")
    assert Message.objects.get(pk=sent.pk).payload == "final"
    assert Mention.objects.get().index == sent.index
    with transaction.atomic():
        other = services.send(scene.room, scene.ben, "unsent yet")
        with pytest.raises(ManaError):
            services.react(other.pk, scene.ann, "👍")  # nobody else knows of it


def test_what_a_crash_left_behind_is_finished_by_a_node(scene: Scene) -> None:
    now = timezone.now()
    for kind, payload in (("edit", '{"payload": "edited"}'), ("reaction", '{"emoji": "👍"}')):
        now += timedelta(milliseconds=1)
        Message.objects.create(
            room=scene.room, kind=kind, target=scene.message.pk, sender=scene.ann, payload_json=payload, created_at=now
        )
    PersonalEvent.objects.create(user=scene.ben, kind="warning", payload_json='{"text": "x"}', created_at=now)
    done = sequencer.sequence_pending()
    assert [event.sequence for event in done] == [3, 4, 5]
    assert (scene.now().payload, scene.now().reaction_count) == ("edited", 1)
    assert Message.objects.get(kind="edit").payload is None, "the payload is in one place only"
    assert sequencer.sequence_pending() == []


def test_rooms_are_managed_in_transactions(scene: Scene) -> None:
    with transaction.atomic():
        services.update_room("tea", scene.ann, slow_mode=30, is_frozen=True)
        services.mute("tea", scene.ann, scene.ben)
        services.invite("tea", scene.ann, [scene.cat])
        services.set_preferences("tea", scene.ben, archived=True)
    scene.room.refresh_from_db()
    assert (scene.room.slow_mode, scene.room.is_frozen) == (30, True)
    row = Membership.objects.get(user=scene.ben)
    assert row.is_archived
    assert row.muted_until is not None
    assert set(PersonalEvent.objects.values_list("user__username", "kind")) == {("ben", "room"), ("cat", "room")}
    assert None not in PersonalEvent.objects.values_list("sequence", flat=True)
    with transaction.atomic():
        services.ban("tea", scene.ann, scene.ben)
        services.delete_room("tea", scene.ann)
    scene.room.refresh_from_db()
    assert scene.room.deleted_at is not None
    assert scene.room.member_count == 0
    assert scene.now().payload is None


def test_two_changes_of_a_room_do_not_undo_each_other(scene: Scene) -> None:
    with transaction.atomic():
        first = services.update_room("tea", scene.ann, topic="Kettles").event
        second = services.update_room("tea", scene.ann, slow_mode=30).event
    services.update_room("tea", scene.ann, name="Tea")
    scene.room.refresh_from_db()
    assert (scene.room.topic, scene.room.slow_mode, scene.room.name) == ("Kettles", 30, "Tea")
    assert first is not None
    assert second is not None
    shown = Message.objects.get(pk=second.pk).payload["room"]
    assert (shown["topic"], shown["slow_mode"]) == ("Kettles", 30)
    assert "slow_mode" not in Message.objects.get(pk=first.pk).payload["room"]


def test_the_last_owner_leaves_in_a_transaction(scene: Scene) -> None:
    with transaction.atomic():
        services.leave("tea", scene.ann)
    assert Membership.objects.get(user=scene.ben).role == "owner"
