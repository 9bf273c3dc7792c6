"""The stores: the default ones pass the suite that every replacement must pass, and so does the example of the docs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import override_settings

from mana import preferences
from mana.accounts import services as accounts
from mana.accounts.stores import AccountStore, DeviceStore, ProfileStore
from mana.checks import check_settings
from mana.conf import Settings
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


STORES = [setting.name for setting in Settings.declared() if setting.name.endswith("_STORE")]


def test_these_are_all_stores() -> None:
    names = ["ACCOUNT", "PROFILE", "DEVICE", "CONTACT", "PREFERENCE", "MESSAGE", "ROOM"]
    assert [f"{name}_STORE" for name in names] == STORES


@pytest.mark.parametrize("path", ["tests.stores.test_stores.Half", "no.such.Store"])
@pytest.mark.parametrize("setting", STORES)
def test_a_store_that_can_not_do_it_all_is_an_error_of_the_checks(setting: str, path: str) -> None:
    with override_settings(MANA={setting: path}):
        messages: list[Any] = check_settings()
    assert [message.id for message in messages] == ["mana.E002"]
    assert setting in messages[0].msg
