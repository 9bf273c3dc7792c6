"""What a store of preferences must do."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

from mana.testing.store_suite.base import StoreSuite


class PreferenceStoreSuite(StoreSuite):
    """For ``MANA["PREFERENCE_STORE"]``."""

    setting = "PREFERENCE_STORE"

    def test_what_is_set_is_read_until_it_is_removed(self, store: Any) -> None:
        """The JSON comes back as it was."""
        user = self.person()
        assert store.get(user.pk, "a.key") is None
        store.set(user.pk, "a.key", '{"x":[1,"ü"]}')
        store.set(user.pk, "a.key", "2")
        assert store.get(user.pk, "a.key") == "2"
        assert store.remove(user.pk, "a.key")
        assert not store.remove(user.pk, "a.key")
        assert store.get(user.pk, "a.key") is None

    def test_keys_are_exact_and_each_user_has_their_own(self, store: Any) -> None:
        """``all``, ``of_many``, ``count``."""
        one, two = self.person(), self.person()
        store.set(one.pk, "room.a", "1")
        store.set(one.pk, "room.A", "2")
        store.set(two.pk, "room.a", "3")
        assert store.all(one.pk) == {"room.a": "1", "room.A": "2"}
        assert store.of_many([one.pk, two.pk], ["room.a"]) == {(one.pk, "room.a"): "1", (two.pk, "room.a"): "3"}
        assert store.count(one.pk) == 2
        assert store.count(self.person().pk) == 0

    def test_what_is_rolled_back_was_never_chosen(self, store: Any) -> None:
        """A store with a memory of its own may not remember it either."""
        user = self.person()
        store.set(user.pk, "a.key", "1")
        assert store.get(user.pk, "a.key") == "1"
        with transaction.atomic():
            store.set(user.pk, "a.key", "2")
            assert store.get(user.pk, "a.key") == "2"
            transaction.set_rollback(True)
        assert store.get(user.pk, "a.key") == "1"

    def test_the_async_twins_do_the_same(self, store: Any) -> None:
        """One of them stands for all."""

        async def main() -> None:
            user = await sync_to_async(self.person)()
            await store.aset(user.pk, "a.key", "true")
            assert await store.aall(user.pk) == {"a.key": "true"}

        async_to_sync(main)()
