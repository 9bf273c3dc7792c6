"""Preferences: typed, with defaults, live on the user's devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.test import override_settings

from mana import accounts, preferences, signals
from mana.protocol import ErrorCode, ManaError
from tests.support.client import Account

database = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def put(account: Account, key: str, value: Any) -> Any:
    return account.http.put(f"/api/preferences/{key}", json={"value": value})


# -- Over REST and live ----------------------------------------------------------------------------------------------


async def test_a_choice_is_live_on_the_users_other_devices_and_on_no_others(alice: Account, bob: Account) -> None:
    async with alice.socket() as phone, bob.socket() as b:
        assert put(alice, "notifications.level", "mentions").json()["value"] == "mentions"
        frame = await phone.expect("preference")
        assert (frame["key"], frame["value"]) == ("notifications.level", "mentions")
        reset = alice.http.delete("/api/preferences/notifications.level").json()
        assert (reset["value"], reset["default"]) == ("all", "all")
        assert (await phone.expect("preference"))["is_default"] is True
        assert not [one for one in await b.silence() if one["type"] == "preference"]


def test_all_are_listed_with_what_they_are(alice: Account, bob: Account) -> None:
    put(alice, "notifications.level", "none")
    listed = {row["key"]: row for row in alice.get("preferences")["results"]}
    assert listed["notifications.level"]["choices"] == ["all", "mentions", "none"]
    assert listed["notifications.level"]["value"] == "none"
    assert listed["notifications.quiet_hours"]["value"] is None
    assert {row["key"]: row["value"] for row in bob.get("preferences")["results"]}["notifications.level"] == "all"
    again = alice.http.get("/api/preferences")
    assert alice.http.get("/api/preferences", headers={"If-None-Match": again.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("notifications.level", "sometimes", "invalid"),
        ("notifications.level", 1, "invalid"),
        ("notifications.level", None, "invalid"),
        ("notifications.quiet_hours", {"start": "22:00"}, "invalid"),
        ("notifications.quiet_hours", {"start": "25:00", "end": "07:00", "time_zone": "UTC"}, "invalid"),
        ("notifications.quiet_hours", {"start": "22:00", "end": "07:00", "time_zone": "Mars/Base"}, "invalid"),
        ("notifications.quiet_hours", {"start": "22:00", "end": "07:00", "time_zone": "../etc/passwd"}, "invalid"),
        ("notifications.quiet_hours", {"start": "22:00", "end": "07:00", "time_zone": "UTC", "x": "y"}, "invalid"),
        ("notifications.", "none", "not_found"),
        ("notifications.*", "none", "not_found"),
        ("no.such.key", True, "not_found"),
    ],
)
def test_what_can_not_be_chosen_is_refused(alice: Account, key: str, value: Any, code: str) -> None:
    answer = put(alice, key, value)
    assert answer.json()["code"] == code
    assert alice.http.put(f"/api/preferences/{key}", json={}).status_code == 400


# -- From Python -----------------------------------------------------------------------------------------------------


def _even(value: int) -> None:
    if value % 2:
        raise ValidationError("Only even numbers.")


@pytest.fixture
def shop() -> Iterator[None]:
    """An app that registers preferences of its own."""
    preferences.register("shop.newsletter", bool, False)
    preferences.register("shop.columns", int, 2, validator=_even)
    preferences.register("shop.discount", float, 0.5)
    preferences.register("shop.sizes", list, ["S"])
    preferences.register("shop.shelf.*", str, None, choices=("open", "closed", None))
    yield
    for name in ("newsletter", "columns", "discount", "sizes", "shelf.*"):
        preferences.unregister(f"shop.{name}")


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("shop")
class TestFromPython:
    @pytest.fixture
    def ann(self) -> Any:
        """Somebody."""
        return accounts.register(username="ann", password="a-long-one-7")

    def test_an_app_registers_its_own(self, ann: Any) -> None:
        assert preferences.get(ann, "shop.newsletter") is False
        preferences.set(ann, "shop.newsletter", True)
        preferences.set(ann, "shop.discount", 1)
        assert preferences.get(ann, "shop.newsletter") is True
        assert preferences.get_all(ann)["shop.discount"] == 1
        assert preferences.reset(ann, "shop.newsletter") is False

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("shop.newsletter", 1),
            ("shop.newsletter", "yes"),
            ("shop.columns", True),
            ("shop.columns", 3),
            ("shop.sizes", {}),
        ],
    )
    def test_types_and_validators_hold(self, ann: Any, key: str, value: Any) -> None:
        with pytest.raises(ManaError) as refusal:
            preferences.set(ann, key, value)
        assert refusal.value.code is ErrorCode.INVALID
        assert key in refusal.value.detail

    def test_one_registration_stands_for_many_keys(self, ann: Any) -> None:
        preferences.set(ann, "shop.shelf.tea", "open")
        assert (preferences.get(ann, "shop.shelf.tea"), preferences.get(ann, "shop.shelf.jam")) == ("open", None)
        assert preferences.get_all(ann)["shop.shelf.tea"] == "open"
        assert "shop.shelf.*" not in preferences.get_all(ann)
        for key in ("shop.shelf.", "shop.shelf.*", "shop.shelf." + "x" * 129):
            with pytest.raises(ManaError) as refusal:
                preferences.set(ann, key, "open")
            assert refusal.value.code is ErrorCode.NOT_FOUND

    def test_a_default_can_not_be_changed_by_its_reader(self, ann: Any) -> None:
        preferences.get(ann, "shop.sizes").append("XL")
        assert preferences.get(ann, "shop.sizes") == ["S"]

    def test_a_wrong_registration_fails_where_it_is_made(self) -> None:
        with pytest.raises(TypeError):
            preferences.register("shop.bad", set, set())
        with pytest.raises(ManaError):
            preferences.register("shop.bad", int, "three")

    def test_choices_have_bounds(self, ann: Any) -> None:
        with override_settings(MANA={"MAX_PREFERENCE_BYTES": 16, "MAX_PREFERENCES": 2}):
            with pytest.raises(ManaError) as refusal:
                preferences.set(ann, "shop.sizes", ["x" * 20])
            assert refusal.value.code is ErrorCode.TOO_LARGE
            for shelf in "ab":
                preferences.set(ann, f"shop.shelf.{shelf}", "closed")
            preferences.set(ann, "shop.shelf.a", "open")
            with pytest.raises(ManaError):
                preferences.set(ann, "shop.shelf.c", "closed")

    def test_a_change_is_told_to_the_projects_code(self, ann: Any) -> None:
        told = []

        def receiver(sender: Any, user: Any, key: str, value: Any, **kwargs: Any) -> None:
            told.append((user, key, value))

        signals.preference_changed.connect(receiver)
        try:
            preferences.set(ann, "shop.columns", 4)
            preferences.reset(ann, "shop.columns")
            preferences.reset(ann, "shop.columns")
        finally:
            signals.preference_changed.disconnect(receiver)
        assert told == [(ann, "shop.columns", 4), (ann, "shop.columns", 2)]

    def test_the_functions_have_async_twins(self, ann: Any) -> None:
        async def main() -> None:
            await preferences.aset(ann, "shop.columns", 6)
            assert await preferences.aget(ann, "shop.columns") == 6

        async_to_sync(main)()
