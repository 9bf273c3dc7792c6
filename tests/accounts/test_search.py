"""People are found by the beginning of their name, by an index, however many there are."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from mana import accounts
from mana.accounts import names, upkeep
from mana.accounts.models import SearchName

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

PASSWORD = "a-long-one-7"
PEOPLE = 100_000


def _found(user: Any, text: str) -> list[str]:
    return [one.username for one in accounts.find_people(user, text)]


def test_a_name_is_found_however_its_beginning_is_written() -> None:
    ann = accounts.register(username="ann", password=PASSWORD)
    for name in ("Bobby", "bob", "BOB-2", "bör", "bo_b", "boc", "bo%b"):
        get_user_model()._default_manager.create(username=name)
    assert sorted(_found(ann, "bob")) == ["BOB-2", "Bobby", "bob"]
    assert sorted(_found(ann, "\uff22\uff2f\uff22")) == ["BOB-2", "Bobby", "bob"]
    assert _found(ann, "bo_") == ["bo_b"]
    assert _found(ann, "bo%") == ["bo%b"]
    assert _found(ann, "BÖ") == ["bör"]
    assert _found(ann, "an") == [], "oneself"


def test_a_changed_name_is_found_and_the_old_one_is_not() -> None:
    ann, bob = (accounts.register(username=name, password=PASSWORD) for name in ("ann", "bob"))
    accounts.change_username(bob, "robert")
    assert (_found(ann, "bob"), _found(ann, "rob")) == ([], ["robert"])
    bob.username = "bertie"
    bob.save()
    assert _found(ann, "bert") == ["bertie"]


def test_a_guest_is_found_by_the_name_that_it_gave_itself() -> None:
    ann = accounts.register(username="ann", password=PASSWORD)
    guest = accounts.guest_identity("Visitor-7", "")
    assert [one.pk for one in accounts.find_people(ann, "visi")] == [guest.user_pk]
    assert _found(ann, "guest") == []


def test_accounts_of_before_are_found_after_migrate() -> None:
    ann, _bob = (accounts.register(username=name, password=PASSWORD) for name in ("ann", "bob"))
    SearchName.objects.all().delete()
    assert _found(ann, "bob") == []
    upkeep.identify_everybody(using="default")
    assert _found(ann, "bob") == ["bob"]


@pytest.mark.parametrize(
    ("prefix", "following"),
    [("ab", "ac"), ("a\U0010ffff", "b"), ("\U0010ffff", None), ("", None), ("\ud7ff", "\ue000")],
)
def test_what_comes_after_a_prefix(prefix: str, following: str | None) -> None:
    assert names.after(prefix) == following


def test_among_a_hundred_thousand_an_index_finds_them() -> None:
    ann = accounts.register(username="ann", password=PASSWORD)
    user_model = get_user_model()
    users = [user_model(username=f"person-{number:06}", password="!") for number in range(PEOPLE)]
    user_model._default_manager.bulk_create(users, batch_size=5000)
    made = user_model._default_manager.filter(mana_search_name=None).values_list("pk", "username")
    SearchName.objects.bulk_create([SearchName(user_id=pk, key=name) for pk, name in made], batch_size=5000)
    with connection.cursor() as cursor:
        for table in (SearchName._meta.db_table, user_model._meta.db_table):
            cursor.execute(f"ANALYZE{' TABLE' if connection.vendor == 'mysql' else ''} {table}")
            if connection.vendor == "mysql":
                cursor.fetchall()
    page = accounts.find_people(ann, "person-0123")[:51]
    assert len(page) == 51
    _assert_the_index_serves(page)


def _assert_the_index_serves(page: Any) -> None:
    table = SearchName._meta.db_table
    if connection.vendor == "mysql":
        sql, parameters = page.query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}", parameters)
            columns = [column[0] for column in cursor.description]
            steps = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        (step,) = (step for step in steps if step["table"] == table)
        assert (step["type"], int(step["rows"]) < PEOPLE / 100) == ("range", True), steps
        assert not [step for step in steps if step["type"] == "ALL"], steps
        return
    plan = page.explain()
    lines = [line for line in plan.splitlines() if table in line]
    if connection.vendor == "sqlite":
        assert any("SEARCH" in line and "key>? AND key<?" in line for line in lines), plan
    else:
        assert any("Index" in line and "_like" in line for line in lines), plan
        assert not any(line.strip(" ->").startswith("Seq Scan") for line in plan.splitlines()), plan
