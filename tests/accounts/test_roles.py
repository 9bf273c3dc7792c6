"""Roles: groups with permissions that ``migrate`` sets up, asked for by everything that people do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import override_settings

from mana import accounts
from mana.accounts import permissions
from mana.messaging import services
from mana.protocol import ErrorCode, ManaError
from tests.support.client import Account

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What one test's users may do must not be remembered for another's with the same keys."""
    permissions.forget()
    yield
    permissions.forget()


def person(name: str = "ann") -> Any:
    return accounts.register(username=name, password="a-long-one-7")


def allowed(name: str) -> set[str]:
    group = Group.objects.get(name=name)
    return set(group.permissions.filter(content_type__app_label="mana_accounts").values_list("codename", flat=True))


def test_the_roles_are_there_with_their_permissions() -> None:
    assert allowed("admin") == allowed("moderator") == permissions.ALL
    assert allowed("user") == {"create_room", "join_room", "send_message", "start_call"}
    assert allowed("guest") == {"join_room", "send_message"}


def test_migrating_again_does_not_undo_what_an_admin_changed() -> None:
    accounts.revoke("guest", "send_message")
    accounts.grant("user", "delete_room")
    Group.objects.get(name="moderator").delete()
    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)
    assert allowed("guest") == {"join_room"}
    assert "delete_room" in allowed("user")
    assert not Group.objects.filter(name="moderator").exists()


def test_a_new_account_is_a_user_and_a_superuser_may_do_everything() -> None:
    ann = person()
    assert list(ann.groups.values_list("name", flat=True)) == ["user"]
    assert accounts.role_of(ann.pk) == "user"
    root = User.objects.create_superuser("root")
    assert (accounts.role_of(root.pk), accounts.permissions_of(root.pk)) == ("admin", permissions.ALL)


def test_who_was_there_before_has_the_default_role() -> None:
    old = User.objects.create_user("old")
    assert accounts.role_of(old.pk) == "user"
    services.create_room(old, name="Mine")
    with override_settings(MANA={"DEFAULT_ROLE": ""}):
        permissions.forget()
        assert (accounts.role_of(old.pk), accounts.permissions_of(old.pk)) == ("", frozenset())


def test_a_role_is_granted_and_revoked_at_once() -> None:
    ann = person()
    accounts.grant(ann, "moderator")
    assert accounts.role_of(ann.pk) == "moderator"
    accounts.revoke(ann, "moderator")
    assert accounts.role_of(ann.pk) == "user"
    accounts.grant(ann, "delete_room")
    assert "delete_room" in accounts.permissions_of(ann.pk)
    accounts.revoke(ann, "delete_room")
    assert "delete_room" not in accounts.permissions_of(ann.pk)


def test_who_loses_the_last_role_is_a_guest_and_nobody_rises_by_losing_one() -> None:
    ann = person()
    accounts.revoke(ann, "user")
    assert accounts.role_of(ann.pk) == "guest"
    with pytest.raises(ManaError) as refusal:
        accounts.revoke(ann, "guest")
    assert refusal.value.code is ErrorCode.CONFLICT
    assert accounts.role_of(ann.pk) == "guest"


def test_who_signs_in_elsewhere_and_was_made_a_guest_does_not_rise_by_claiming() -> None:
    ann = User.objects.create_user("ann")
    accounts.grant(ann, "user")
    accounts.revoke(ann, "user")
    with pytest.raises(ManaError) as refused:
        accounts.claim(ann, username="ann-again", password="a-long-one-7")
    assert refused.value.code is ErrorCode.CONFLICT
    assert accounts.role_of(ann.pk) == "guest"


def test_a_change_by_hand_in_the_admin_counts_as_well() -> None:
    ann = person()
    assert "create_room" in accounts.permissions_of(ann.pk)
    ann.groups.set([Group.objects.get(name="guest")])
    assert "create_room" not in accounts.permissions_of(ann.pk)


@pytest.mark.parametrize("what", ["king", "fly", ""])
def test_what_does_not_exist_is_not_granted(what: str) -> None:
    with pytest.raises(ManaError):
        accounts.grant(person(), what)
    with pytest.raises(ManaError):
        accounts.grant(what, "create_room")


def test_each_permission_is_asked_for() -> None:
    ann, bob = person("ann"), person("bob")
    room = services.create_room(ann, name="Open", is_private=False, members=[]).room
    own = services.create_room(bob, name="Own").room
    for codename, act in (
        ("create_room", lambda: services.create_room(bob, name="No")),
        ("join_room", lambda: services.join(room.key, bob)),
        ("send_message", lambda: services.send(own, bob, "hello")),
        ("send_message", lambda: services.direct_room(bob, ann)),
    ):
        accounts.revoke("user", codename)
        with pytest.raises(ManaError) as refusal:
            act()
        assert refusal.value.code is ErrorCode.FORBIDDEN
        accounts.grant("user", codename)
        act()


def test_what_many_may_do_is_read_with_few_queries(django_assert_max_num_queries: Any) -> None:
    people = [person(f"person{number}") for number in range(20)]
    permissions.forget()
    with django_assert_max_num_queries(3):
        permissions.prepare([one.pk for one in people])
        for one in people:
            permissions.require(one.pk, "send_message")


async def test_a_role_counts_on_the_socket(alice: Account) -> None:
    async with alice.socket() as socket:
        room = (await socket.request("join", room_id=f"open-{alice.username}"))["room_id"]
        assert room == f"open-{alice.username}"
    assert alice.get("me")["permissions"] == ["create_room", "join_room", "send_message", "start_call"]
