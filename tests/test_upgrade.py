"""A database that the first release's migrations made, with data in it, comes to the newest without loss."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.apps import apps as current_apps
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from mana.messaging.ids import new_message_id

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

FIRST = [("mana_accounts", "0001_initial"), ("mana_realtime", "0001_initial"), ("mana_messaging", "0001_initial")]

#: The first migration of every app that can be there together with those of all others.
EARLY = [
    *FIRST[:2],
    ("mana_messaging", "0002_changes_and_control"),
    *(
        (f"mana_{app}", "0001_initial")
        for app in ("contacts", "preferences", "notifications", "moderation", "rtc", "e2ee")
    ),
]


def _first_release() -> Any:
    """Brings the database back to the first release; the models as they were then."""
    executor = MigrationExecutor(connection)
    later = [(app, None) for app, _ in executor.loader.graph.leaf_nodes() if app == "mana_moderation"]
    executor.migrate([*FIRST, *later])
    return MigrationExecutor(connection).loader.project_state(FIRST).apps


def _populate(apps: Any) -> None:
    """People, a room, its order of events: written as the first release did, through its own models."""
    user = apps.get_model("auth", "User").objects.create(username="ann", password="!")
    other = apps.get_model("auth", "User").objects.create(username="ben", password="!")
    apps.get_model("mana_accounts", "Profile").objects.create(user=user, display_name="Ann")
    apps.get_model("mana_accounts", "Device").objects.create(
        user=other, device_id="phone", cursor=2, last_seen_at=timezone.now()
    )
    room = apps.get_model("mana_messaging", "Room").objects.create(
        key="kitchen", name="Kitchen", created_by=user, last_index=3, last_sequence=3, message_count=2, member_count=2
    )
    for member, role in ((user, "owner"), (other, "member")):
        apps.get_model("mana_messaging", "Membership").objects.create(
            room=room, user=member, role=role, joined_sequence=1, first_index=1, read_index=2, read_count=1
        )
    events = apps.get_model("mana_messaging", "Message").objects
    info = {"id": "kitchen", "name": "Kitchen", "room_type": "group", "is_private": True}
    created = {"action": "created", "room": {**info, "topic": "", "shares_history": False}, "members": []}
    import json

    rows = [("room", json.dumps(created), None), ("message", '{"text": "hi"}', "a"), ("message", '{"text": "ho"}', "b")]
    for number, (kind, payload_json, ack_id) in enumerate(rows, 1):
        events.create(
            id=new_message_id(),
            room=room,
            kind=kind,
            sequence=number,
            index=number,
            number=number - 1,
            sender=user,
            ack_id=ack_id,
            payload_json=payload_json,
            created_at=timezone.now(),
        )
    apps.get_model("mana_messaging", "Stream").objects.update_or_create(pk=1, defaults={"sequence": 3})


def test_two_choices_of_what_notifies_in_a_room_become_one() -> None:
    executor = MigrationExecutor(connection)
    before = [("mana_notifications", "0001_initial"), ("mana_messaging", "0002_changes_and_control")]
    executor.migrate(before)
    try:
        apps = MigrationExecutor(connection).loader.project_state([*before, ("mana_preferences", "0001_initial")]).apps
        rooms, memberships = (apps.get_model("mana_messaging", name).objects for name in ("Room", "Membership"))
        ann = apps.get_model("auth", "User").objects.create(username="ann", password="!")
        chosen = {  # in the membership, as a preference -> what counts from now on
            ("all", None): "default",
            ("all", "all"): "all",
            ("all", "mentions"): "mentions",
            ("mentions", None): "mentions",
            ("mentions", "all"): "mentions",
            ("mentions", "none"): "none",
            ("none", "mentions"): "none",
        }
        for number, (in_room, preferred) in enumerate(chosen):
            room = rooms.create(key=f"room-{number}")
            memberships.create(room=room, user_id=ann.pk, notifications=in_room)
            if preferred is not None:
                apps.get_model("mana_preferences", "Preference").objects.create(
                    user_id=ann.pk, key=f"notifications.room.room-{number}", value_json=f'"{preferred}"'
                )
    finally:
        call_command("migrate", verbosity=0)

    from mana.messaging.models import Membership
    from mana.preferences.models import Preference

    found = Membership.objects.filter(user_id=ann.pk).order_by("room__key").values_list("notifications", flat=True)
    assert list(found) == list(chosen.values())
    assert not Preference.objects.filter(user_id=ann.pk).exists()


#: What a migration changes on purpose, in the rows that are made here.
CHANGED = {"mana_messaging.Membership.notifications": "default"}


def _any_value(field: Any, user: Any, made: dict[str, Any]) -> Any:
    """Something that a column takes which must be filled."""
    if field.remote_field is not None:
        return user if field.related_model._meta.label == "auth.User" else made[field.related_model._meta.label]
    if field.choices:
        return field.choices[0][0]
    kinds: list[tuple[type, Any]] = [
        (models.UUIDField, uuid.uuid4()),
        (models.DateTimeField, timezone.now()),
        (models.BinaryField, b"bytes"),
        (models.BooleanField, True),
        (models.IntegerField, 7),
        (models.JSONField, {}),
        (models.TextField, "null"),
        (models.CharField, "some"),
    ]
    return next(value for kind, value in kinds if isinstance(field, kind))


def _one_row_each(apps: Any) -> dict[str, Any]:
    """A row of every model that mana had then, whatever it holds, by the model's label."""
    user = apps.get_model("auth", "User").objects.create(username="ann", password="!")
    made: dict[str, Any] = {}
    waiting = [model for app, _ in EARLY for model in apps.get_app_config(app).get_models() if not model._meta.proxy]
    while waiting:
        model = waiting.pop(0)
        needed = [
            field
            for field in model._meta.concrete_fields
            if not field.null
            and not field.has_default()
            and not field.blank
            and not isinstance(field, models.AutoField)
        ]
        missing = {one.related_model._meta.label for one in needed if one.remote_field} - {"auth.User", *made}
        if missing:
            waiting.append(model)
            continue
        values = {field.name: _any_value(field, user, made) for field in needed}
        made[model._meta.label] = model.objects.create(**values)
    return made


def test_a_row_of_every_early_table_survives() -> None:
    executor = MigrationExecutor(connection)
    try:
        executor.migrate(EARLY)
        made = _one_row_each(MigrationExecutor(connection).loader.project_state(EARLY).apps)
        assert {label.split(".")[0] for label in made} == {app for app, _ in EARLY}
        before = {
            label: {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
            for label, row in made.items()
        }
    finally:
        call_command("migrate", verbosity=0)
    for label, values in before.items():
        row = current_apps.get_model(label)._default_manager.get(pk=made[label].pk)
        for name, value in values.items():
            now = getattr(row, name)
            now = bytes(now) if isinstance(now, memoryview) else now
            assert now == CHANGED.get(f"{label}.{name}", value), f"{label}.{name}"

    from mana.moderation import services as moderation
    from mana.moderation.models import Report

    report = Report.objects.get()
    assert report.evidence == {}
    moderation.dismiss(report, None)


def test_every_app_is_upgraded_here() -> None:
    known = {label for label, _ in MigrationExecutor(connection).loader.graph.nodes if label.startswith("mana")}
    assert known == {app for app, _ in EARLY}


def test_data_of_the_first_release_survives_the_upgrade() -> None:
    try:
        _populate(_first_release())
    finally:
        call_command("migrate", verbosity=0)

    from django.contrib.auth import get_user_model

    from mana.messaging import services
    from mana.messaging.models import Membership, Message, Room

    users = get_user_model()._default_manager
    ann, ben = users.get(username="ann"), users.get(username="ben")
    room = Room.objects.get(key="kitchen")
    assert (room.is_frozen, room.slow_mode, room.deleted_at, room.avatar) == (False, 0, None, "")
    row = Membership.objects.get(user=ben)
    assert (row.notifications, row.is_archived, row.muted_until) == ("default", False, None)
    page = services.history("kitchen", ben)
    assert page.indexes == [1, 2, 3]
    assert services.sync(ben, device_id="phone").cursor == 3
    old = Message.objects.get(index=2)
    assert (old.extra_json, old.reaction_count, old.edited_at, old.deleted_at) == ("", 0, None, None)
    assert services.send("kitchen", ann, "again", ack_id="a").pk == old.pk, "a resend of before the upgrade"
    assert services.send("kitchen", ben, "new").sequence == 4
    assert services.edit(old.pk, ann, {"text": "hello"}).message.payload == {"text": "hello"}
    assert services.react(old.pk, ben, "👍").message.reaction_count == 1
    assert services.delete(old.pk, ann).message.payload is None
    assert services.update_room("kitchen", ann, slow_mode=5).room.slow_mode == 5
