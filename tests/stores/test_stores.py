"""The stores: the default ones pass the suite that every replacement must pass, and so does the example of the docs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from mana import preferences
from mana.accounts import services as accounts
from mana.accounts.stores import AccountStore, DeviceStore, ProfileStore
from mana.contacts.stores import ContactStore
from mana.preferences.stores import PreferenceStore
from mana.testing.store_suite import (
    AccountStoreSuite,
    ContactStoreSuite,
    DeviceStoreSuite,
    PreferenceStoreSuite,
    ProfileStoreSuite,
)
from tests.stores.example import CachedPreferenceStore

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


class TestAccountStore(AccountStoreSuite):
    store_class = AccountStore


class TestProfileStore(ProfileStoreSuite):
    store_class = ProfileStore


class TestDeviceStore(DeviceStoreSuite):
    store_class = DeviceStore


class TestContactStore(ContactStoreSuite):
    store_class = ContactStore


class TestPreferenceStore(PreferenceStoreSuite):
    store_class = PreferenceStore


class TestCachedPreferenceStore(PreferenceStoreSuite):
    store_class = CachedPreferenceStore


def test_services_use_the_configured_store() -> None:
    user = accounts.register(username="somebody-new", password="a-long-one-7")
    with override_settings(MANA={"PREFERENCE_STORE": "tests.stores.example.CachedPreferenceStore"}):
        preferences.set(user, "notifications.level", "none")
        CachedPreferenceStore.values[(user.pk, "notifications.level")] = json.dumps("mentions")
        assert preferences.get(user, "notifications.level") == "mentions"
    assert preferences.get(user, "notifications.level") == "none"
    CachedPreferenceStore.values.clear()


class Half:
    """A store that lacks most."""

    def get(self) -> None:
        """All it has."""


@pytest.mark.parametrize("path", ["tests.stores.test_stores.Half", "no.such.Store"])
def test_a_store_that_can_not_do_it_all_is_an_error_of_the_checks(path: str) -> None:
    with override_settings(MANA={"PREFERENCE_STORE": path}):
        messages: list[Any] = [message for message in run_checks() if message.id == "mana.E002"]
    assert messages, "the check says nothing"
    assert "PREFERENCE_STORE" in messages[0].msg
