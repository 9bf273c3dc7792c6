"""Contacts from Python: races on all databases, queries, the policy that a project replaces."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.test import override_settings

from mana import accounts, contacts
from mana.accounts.persons import Person
from mana.contacts.models import Block, Contact, ContactRequest
from mana.contacts.policies import ContactPolicy
from mana.contacts.presence import ContactPresencePolicy
from mana.contacts.stores import ContactStore
from mana.messaging import services
from mana.protocol import ErrorCode, ManaError

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def people(count: int) -> list[Any]:
    return [accounts.register(username=f"person{number}", password="a-long-one-7") for number in range(count)]


def at_once(*functions: Callable[[], Any]) -> list[BaseException]:
    """Runs functions in threads that begin together; what they raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> None:
        start.wait(10)
        try:
            function()
        except ManaError as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_requests_that_cross_make_contacts_and_leave_no_request() -> None:
    everybody = people(6)
    for one, two in zip(everybody[::2], everybody[1::2], strict=True):
        assert at_once(lambda: contacts.request(one, two), lambda: contacts.request(two, one)) == []  # noqa: B023
        assert contacts.are_contacts(one, two)
        assert contacts.are_contacts(two, one)
    assert ContactRequest.objects.count() == 0
    assert Contact.objects.count() == 6


def test_a_request_is_accepted_once_however_often_one_clicks() -> None:
    one, two = people(2)
    contacts.request(one, two)
    errors = at_once(*[lambda: contacts.accept(two, one)] * 3)
    assert [error.code for error in errors if isinstance(error, ManaError)] == [ErrorCode.NOT_FOUND] * 2
    assert Contact.objects.count() == 2


def test_a_block_wins_over_a_request_that_is_being_accepted() -> None:
    one, two = people(2)
    contacts.request(one, two)
    at_once(lambda: contacts.accept(two, one), lambda: contacts.block(one, two))
    contacts.block(one, two)
    assert Block.objects.count() == 1
    with pytest.raises(ManaError):
        services.send_direct(two, one, "hello")


class Overtaken(ContactPolicy):
    """A block is made right after it was asked whether there is one."""

    def may_request(self, person: Person, other: Person) -> None:
        super().may_request(person, other)
        contacts.block(other, person)


def test_a_request_that_a_block_overtakes_is_none() -> None:
    one, two = people(2)
    with override_settings(MANA={"CONTACT_POLICY": "tests.contacts.test_services.Overtaken"}):
        contacts.request(one, two)
    assert contacts.is_blocked(one, two)
    assert not ContactRequest.objects.exists()


def test_a_contact_that_a_block_overtakes_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = people(2)
    connect = ContactStore.connect

    def overtaken(self: ContactStore, user_pk: Any, person_pk: Any) -> None:
        connect(self, user_pk, person_pk)
        # What another connection has committed before this one, which did not see the contact.
        Block.objects.create(user=one, person=two)

    contacts.request(one, two)
    monkeypatch.setattr(ContactStore, "connect", overtaken)
    contacts.accept(two, one)
    assert not contacts.are_contacts(one, two)
    assert not contacts.are_contacts(two, one)


def test_nothing_is_lost_of_a_request_whose_acceptance_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: ContactStore, user_pk: Any, person_pk: Any) -> None:
        raise ConnectionError

    one, two = people(2)
    contacts.request(one, two)
    with monkeypatch.context() as patched:
        patched.setattr(ContactStore, "connect", fails)
        with pytest.raises(ConnectionError):
            contacts.accept(two, one)
    contacts.accept(two, one)
    assert contacts.are_contacts(one, two)


def test_a_project_decides_by_its_own_rules() -> None:
    one, two = people(2)
    with (
        override_settings(MANA={"CONTACT_POLICY": "tests.contacts.test_services.NoStrangers"}),
        pytest.raises(ManaError, match="staff"),
    ):
        services.send_direct(one, two, "hello")
    services.send_direct(one, two, "hello")


class NoStrangers(ContactPolicy):
    def may_message(self, person: Any, other_user_id: str) -> None:
        raise ManaError(ErrorCode.FORBIDDEN, "Only the staff writes to people.")


def test_who_may_be_written_to_may_be_called() -> None:
    one, two = map(accounts.identity_person, people(2))
    ContactPolicy().may_call(one, two.user_id)
    contacts.block(two, one)
    for caller, called in ((one, two), (two, one)):
        with pytest.raises(ManaError):
            ContactPolicy().may_call(caller, called.user_id)


def test_a_batch_of_messages_costs_a_fixed_number_of_queries(django_assert_max_num_queries: Any) -> None:
    everybody = [accounts.identity_person(user) for user in people(12)]
    contacts.block(everybody[0], everybody[1])
    rules = ContactPolicy()
    pairs = [(one, two.user_id) for one in everybody for two in everybody if one != two]
    with django_assert_max_num_queries(4):
        rules.prepare(pairs)
        refused = 0
        for one, other in pairs:
            try:
                rules.may_message(one, other)
            except ManaError:
                refused += 1
    assert refused == 2


def test_who_sees_whom_is_asked_with_a_fixed_number_of_queries(django_assert_max_num_queries: Any) -> None:
    everybody = people(10)
    accounts.update_profile(everybody[0], last_seen_to="nobody")
    accounts.update_profile(everybody[1], last_seen_to="contacts")
    contacts.block(everybody[2], everybody[3])
    pks = [user.pk for user in everybody]
    rules = ContactPresencePolicy()
    with django_assert_max_num_queries(4):
        audiences = rules.audiences(pks)
    ids = {user.pk: str(user.pk) for user in everybody}
    assert set(audiences) == set(pks[:4])
    assert audiences[pks[0]].only == [ids[pks[0]]]
    assert audiences[pks[2]].hidden_from == [ids[pks[3]]]
    with django_assert_max_num_queries(4):
        assert rules.visible(pks[3], pks) == set(pks) - {pks[0], pks[1], pks[2]}


def test_limits_hold() -> None:
    one, two, three = people(3)
    with override_settings(MANA={"MAX_CONTACTS": 1, "MAX_BLOCKS": 1}):
        contacts.request(one, two)
        contacts.block(one, two)
        contacts.request(one, three)
        for refused in (lambda: contacts.request(one, two), lambda: contacts.block(one, three)):
            with pytest.raises(ManaError):
                refused()


def test_the_functions_have_async_twins() -> None:
    async def main() -> None:
        one, two = await sync_to_async(people)(2)
        await contacts.arequest(one, two)
        await contacts.aaccept(two, one)
        assert [person.username for person in await contacts.acontacts(one)] == [two.username]
        await contacts.ablock(one, two)
        assert await contacts.ais_blocked(two, one)

    async_to_sync(main)()
