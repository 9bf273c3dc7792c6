"""Users whom a project makes by itself, and databases with data from before."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import ProtectedError
from django.test import override_settings

from mana import accounts, signals
from mana.accounts import upkeep
from mana.accounts.models import Identifier, Profile, SignIn
from mana.protocol import ManaError
from mana.realtime.identity import Refused
from tests.support.receivers import connected, refuse

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

PASSWORD = "a-long-one-7"


def users() -> Any:
    return get_user_model()._default_manager


def test_users_of_an_existing_site_sign_in_with_their_addresses() -> None:
    ann = users().create_user("Ann", email="Ann@example.com", password=PASSWORD)
    twin = users().create_user("twin", email="ann@EXAMPLE.com", password=PASSWORD)
    Identifier.objects.all().delete()  # as if they had been there before
    upkeep.identify_everybody(using="default")
    upkeep.identify_everybody(using="default")
    assert accounts.sign_in_with_password("ann@example.com", PASSWORD)
    assert SignIn.objects.get().user == ann, "of two with one address, the older one signs in with it"
    assert accounts.sign_in_with_password("twin", PASSWORD)
    assert set(Identifier.objects.filter(user=twin).values_list("kind", flat=True)) == {"username"}


def test_a_name_that_the_project_changes_is_followed() -> None:
    ann = users().create_user("ann", password=PASSWORD)
    ann.username = "anna"
    ann.save()
    accounts.register(username="ann", password=PASSWORD)
    with pytest.raises(ValidationError):
        accounts.register(username="ANNA", password=PASSWORD)


def test_the_first_releases_database_is_migrated_with_its_data() -> None:
    ann = users().create_user("ann", email="ann@example.com", password=PASSWORD)
    call_command("migrate", "mana_accounts", "0001", verbosity=0)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO mana_profile (user_id, display_name, about, created_at) VALUES (%s, %s, %s, %s)",
                [ann.pk, "Ann", "hello", "2026-01-01 00:00:00"],
            )
    finally:
        call_command("migrate", verbosity=0)
    profile = Profile.objects.get(user=ann)
    assert (profile.display_name, profile.avatar, profile.last_seen_to) == ("Ann", "", "")
    assert accounts.sign_in_with_password("ann@example.com", PASSWORD)


@pytest.mark.parametrize("field", ["username", "email"])
def test_of_many_who_want_the_same_at_once_one_gets_it(field: str) -> None:
    made: list[Any] = []
    refused: list[Any] = []
    start = threading.Barrier(6)

    def register(number: int) -> None:
        body = {"username": f"person{number}", "email": f"p{number}@example.com", "password": PASSWORD}
        body[field] = ["Same", "same", "SAME"][number % 3] + ("@example.com" if field == "email" else "")
        start.wait(10)
        try:
            made.append(accounts.register(**body))
        except ValidationError as error:
            refused.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=register, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(made), len(refused)) == (1, 5)
    assert all(field in error.error_dict for error in refused)
    assert users().count() == 1, "somebody was stored by half"


def test_an_account_that_the_projects_tables_need_becomes_anonymous(monkeypatch: pytest.MonkeyPatch) -> None:
    ann = accounts.register(username="ann", password=PASSWORD, email="ann@example.com")
    accounts.update_profile(ann, about="hello")

    def protected(self: Any, user: Any) -> None:
        raise ProtectedError("an order of the shop", set())

    monkeypatch.setattr("mana.accounts.stores.AccountStore.delete", protected)
    accounts.delete_account(ann)
    _is_anonymous(ann.pk)


def test_accounts_are_made_anonymous_where_the_project_says_so() -> None:
    ann = accounts.register(username="ann", password=PASSWORD, email="ann@example.com")
    bob = accounts.register(username="bob", password=PASSWORD)
    from mana import contacts

    contacts.request(bob, ann)
    contacts.accept(ann, bob)
    with override_settings(MANA={"ACCOUNT_DELETION": "anonymise"}):
        accounts.delete_account(ann)
    _is_anonymous(ann.pk)
    assert contacts.contacts(bob) == []
    accounts.register(username="ann", password=PASSWORD, email="ann@example.com")


def _is_anonymous(pk: Any) -> None:
    row = users().get(pk=pk)
    assert row.username.startswith("deleted-")
    assert (row.email, row.is_active, row.has_usable_password()) == ("", False, False)
    assert not Profile.objects.filter(user=row).exists()
    assert not Identifier.objects.filter(user=row).exists()
    assert not row.groups.exists()


def test_a_receiver_can_keep_an_account() -> None:
    ann = accounts.register(username="ann", password=PASSWORD)
    with connected(signals.account_deleting, refuse), pytest.raises(RuntimeError):
        accounts.delete_account(ann)
    assert users().filter(pk=ann.pk, is_active=True).exists()


def test_a_password_changed_by_a_raw_update_ends_what_the_old_one_opened() -> None:
    ann = accounts.register(username="ann", password=PASSWORD)
    tokens = accounts.sign_in_with_password("ann", PASSWORD)
    assert accounts.identity_from_token(tokens.access).user_pk == ann.pk
    users().filter(pk=ann.pk).update(password=make_password("another-long-one-8"))
    with pytest.raises(Refused):
        accounts.identity_from_token(tokens.access)
    with pytest.raises(ManaError):
        accounts.refresh(tokens.refresh)


def test_the_functions_have_async_twins() -> None:
    async def main() -> None:
        ann = await accounts.aregister(username="ann", password=PASSWORD)
        await accounts.aset_status(ann, "Busy")
        await accounts.agrant(ann, "moderator")
        assert await accounts.arole_of(ann.pk) == "moderator"
        await accounts.adelete_account(ann)
        assert not await users().filter(pk=ann.pk).aexists()

    async_to_sync(main)()


def test_what_is_used_up_is_cleared_away() -> None:
    from datetime import timedelta

    from django.utils import timezone

    from mana.accounts.models import Ticket

    ann = accounts.register(username="ann", password=PASSWORD)
    accounts.sign_in(ann)
    accounts.sign_in(ann)
    accounts.make_ticket(ann)
    long_ago = timezone.now() - timedelta(days=60)
    old = SignIn.objects.order_by("created_at").first()
    assert old is not None
    SignIn.objects.filter(pk=old.pk).update(revoked_at=long_ago)
    accounts.make_ticket(ann)
    Ticket.objects.filter(pk=Ticket.objects.values_list("pk", flat=True)[0]).update(expires_at=long_ago)
    call_command("mana_clear_expired", verbosity=0)
    assert (SignIn.objects.count(), Ticket.objects.count()) == (1, 1)
