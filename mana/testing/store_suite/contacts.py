"""What a store of contacts and blocks must do."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from mana.testing.store_suite.base import StoreSuite


class ContactStoreSuite(StoreSuite):
    """For ``MANA["CONTACT_STORE"]``."""

    setting = "CONTACT_STORE"

    def test_both_sides_become_contacts_and_stop_being_so(self, store: Any) -> None:
        """``connect`` twice is no error; ``disconnect`` from either side ends both."""
        one, two = self.person(), self.person()
        store.connect(one.pk, two.pk)
        store.connect(two.pk, one.pk)
        assert store.contact_pks(one.pk) == [two.pk]
        assert store.contact_pks(two.pk) == [one.pk]
        assert store.are_contacts([(one.pk, two.pk), (two.pk, one.pk)]) == {(one.pk, two.pk), (two.pk, one.pk)}
        assert store.disconnect(two.pk, one.pk)
        assert not store.disconnect(two.pk, one.pk)
        assert store.contact_pks(one.pk) == store.contact_pks(two.pk) == []

    def test_a_change_is_of_ones_own_side(self, store: Any) -> None:
        """``change``, also to what it was before."""
        one, two = self.person(), self.person()
        assert not store.change(one.pk, two.pk, nickname="x")
        store.connect(one.pk, two.pk)
        assert store.change(one.pk, two.pk, nickname="Mum")
        assert store.change(one.pk, two.pk, nickname="Mum")
        assert store.contact(one.pk, two.pk).nickname == "Mum"
        assert store.contact(two.pk, one.pk).nickname == ""

    def test_between_two_people_there_is_one_request(self, store: Any) -> None:
        """Whoever made it."""
        one, two = self.person(), self.person()
        assert store.request(one.pk, two.pk, "hello").user_id == one.pk
        assert store.request(one.pk, two.pk) is None
        assert store.request(two.pk, one.pk) is None
        assert store.request_between(two.pk, one.pk).message == "hello"
        assert store.count(one.pk) == 1
        assert not store.withdraw(two.pk, one.pk)
        assert store.withdraw(one.pk, two.pk)
        assert store.request_between(one.pk, two.pk) is None

    def test_becoming_contacts_ends_the_request(self, store: Any) -> None:
        """From whichever side."""
        one, two = self.person(), self.person()
        store.request(one.pk, two.pk)
        store.connect(two.pk, one.pk)
        assert store.request_between(one.pk, two.pk) is None

    def test_a_block_ends_contact_and_request_and_is_found_from_both_sides(self, store: Any) -> None:
        """``block``, ``blocked_with``, ``blocks_between``, ``unblock``."""
        one, two, three = self.person(), self.person(), self.person()
        store.connect(one.pk, two.pk)
        store.request(three.pk, one.pk)
        assert store.block(one.pk, two.pk)
        assert not store.block(one.pk, two.pk)
        store.block(one.pk, three.pk)
        assert store.contact_pks(two.pk) == []
        assert store.request_between(one.pk, three.pk) is None
        assert store.blocked_with(two.pk) == {one.pk}
        assert store.blocked_with(one.pk) == {two.pk, three.pk}
        assert store.blocks_between([(two.pk, one.pk), (two.pk, three.pk)]) == {(one.pk, two.pk)}
        assert store.block_count(one.pk) == 2
        assert not store.unblock(two.pk, one.pk)
        assert store.unblock(one.pk, two.pk)
        assert store.blocked_with(two.pk) == set()

    def test_nothing_asked_is_nothing_found(self, store: Any) -> None:
        """Empty collections are no error."""
        assert store.are_contacts([]) == store.blocks_between([]) == set()
        assert store.contacts_of_many([]) == store.blocks_of_many([]) == []

    def test_the_async_twins_do_the_same(self, store: Any) -> None:
        """One of them stands for all."""

        async def main() -> None:
            one, two = await sync_to_async(self.person)(), await sync_to_async(self.person)()
            await store.aconnect(one.pk, two.pk)
            assert await store.acontact_pks(two.pk) == [one.pk]

        async_to_sync(main)()
