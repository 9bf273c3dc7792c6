"""What a store of profiles must do."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from mana.testing.store_suite.base import StoreSuite


class ProfileStoreSuite(StoreSuite):
    """For ``MANA["PROFILE_STORE"]``."""

    setting = "PROFILE_STORE"

    def test_everybody_has_a_profile(self, store: Any) -> None:
        """It is made when first asked for."""
        user = self.person()
        assert store.get(user).display_name == ""
        assert store.get(user).pk == user.pk

    def test_what_is_saved_is_read(self, store: Any) -> None:
        """Only the named fields are stored."""
        user = self.person()
        profile = store.get(user)
        profile.display_name, profile.about = "Ada", "not stored"
        store.save(profile, "display_name")
        again = store.many([user.pk])[user.pk]
        assert (again.display_name, again.about) == ("Ada", "")

    def test_many_gives_those_that_exist(self, store: Any) -> None:
        """With nobody asked for, nobody is found."""
        one, two = self.person(), self.person()
        store.get(one)
        store.get(two)
        assert set(store.many([one.pk, two.pk])) == {one.pk, two.pk}
        assert store.many([]) == {}

    def test_a_guest_is_found_by_the_name_it_gave_itself(self, store: Any) -> None:
        """``add_guest``, ``guest``."""
        user = self.person()
        store.add_guest(user, "passing-by")
        assert store.guest("passing-by").user == user
        assert store.guest("Passing-By") is None

    def test_only_those_who_chose_are_restricted(self, store: Any) -> None:
        """``restricted`` leaves out who chose nothing."""
        one, two = self.person(), self.person()
        profile = store.get(one)
        store.get(two)
        profile.last_seen_to = "nobody"
        store.save(profile, "last_seen_to")
        assert store.restricted([one.pk, two.pk], "last_seen_to") == {one.pk: "nobody"}

    def test_the_async_twins_do_the_same(self, store: Any) -> None:
        """One of them stands for all."""

        async def main() -> None:
            user = await sync_to_async(self.person)()
            profile = await store.aget(user)
            profile.about = "hello"
            await store.asave(profile, "about")
            assert (await store.amany([user.pk]))[user.pk].about == "hello"

        async_to_sync(main)()
