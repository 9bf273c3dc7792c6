"""What a store of accounts must do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.utils import timezone

from mana.accounts.names import username_key
from mana.accounts.stores import Taken
from mana.testing.store_suite.base import StoreSuite


class AccountStoreSuite(StoreSuite):
    """For ``MANA["ACCOUNT_STORE"]``."""

    setting = "ACCOUNT_STORE"

    def new(self, name: str) -> Any:
        """A user who is not stored yet."""
        user_model = get_user_model()
        user = user_model(**{user_model.USERNAME_FIELD: name})
        user.set_unusable_password()
        return user

    def test_who_was_created_is_found_by_key_and_by_id(self, store: Any) -> None:
        """``create``, ``people``, ``resolve``, ``by_pk``, ``by_identifier``."""
        user = store.create(self.new("Store-Ada"))
        person = store.people([user.pk])[user.pk]
        assert store.resolve([person.user_id])[person.user_id] == person
        assert store.by_pk(user.pk) == user
        assert store.by_identifier("username", username_key("STORE-ADA")) == user
        assert store.is_taken("username", username_key("store-ada"))
        assert not store.is_taken("username", username_key("store-ada"), by_another_than=user.pk)

    def test_a_name_that_looks_the_same_is_taken(self, store: Any) -> None:
        """And nothing is left of the second one."""
        store.create(self.new("store-grace"))
        with pytest.raises(Taken) as taken:
            store.create(self.new("STORE-Grace"))
        assert taken.value.kind == "username"
        name = get_user_model().USERNAME_FIELD
        assert get_user_model()._default_manager.filter(**{f"{name}__iexact": "store-grace"}).count() == 1

    def test_nonsense_names_nobody(self, store: Any) -> None:
        """Ids come from outside."""
        assert store.resolve(["", "nobody", "9" * 40, "1\x00"]) == {}
        assert store.by_pk("nonsense") is None
        assert store.people([None]) == {}
        assert store.sign_in("nonsense") is None
        assert not store.valid_sign_in("nonsense")

    def test_a_search_finds_beginnings_of_names_but_not_the_hidden(self, store: Any) -> None:
        """``search`` gives users in order of their names."""
        asking, one, two = self.person(), store.create(self.new("seek-a")), store.create(self.new("seek-b"))
        assert list(store.search("SEEK", exclude=asking.pk)) == [one, two]
        assert list(store.search("seek", exclude=one.pk)) == [two]
        assert list(store.search("seek", exclude=asking.pk, hidden=[two.pk])) == [one]
        assert list(store.search("eek", exclude=asking.pk)) == []

    def test_sign_ins_end_once(self, store: Any) -> None:
        """``add_sign_in``, ``revoke_sign_ins``, ``valid_sign_in``."""
        user = self.person()
        later = timezone.now() + timedelta(days=1)
        one, two = (store.add_sign_in(user, refresh_jti=jti, expires_at=later) for jti in "ab")
        assert store.valid_sign_in(str(one.pk))
        assert store.revoke_sign_ins(user.pk, keep=two.pk) == [str(one.pk)]
        assert store.revoke_sign_ins(user.pk, ids=[one.pk]) == []
        assert not store.valid_sign_in(str(one.pk))
        assert [row.pk for row in store.sign_ins(user.pk)] == [two.pk]

    def test_a_ticket_is_taken_once(self, store: Any) -> None:
        """``store_ticket``, ``take_ticket``."""
        user = self.person()
        store.store_ticket(user, "a-ticket", None)
        assert store.take_ticket("a-ticket").user == user
        assert store.take_ticket("a-ticket") is None
        assert store.take_ticket("another") is None

    def test_the_async_twins_do_the_same(self, store: Any) -> None:
        """One of them stands for all."""

        async def main() -> None:
            user = await store.acreate(self.new("store-async"))
            assert (await store.apeople([user.pk]))[user.pk].pk == user.pk
            assert await store.aby_identifier("username", username_key("store-async")) == user

        async_to_sync(main)()
