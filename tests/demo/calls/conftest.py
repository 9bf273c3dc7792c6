"""A server whose calls ring briefly, and people with a camera and a microphone in front of the messenger."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.demo.calls.person import Person
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

CALLS = {
    # Three browsers on two busy cores need a while to answer.
    "MANA_RING_TIMEOUT": "10",
    "MANA_RTC_ADDRESSES": "127.0.0.1",
    "MANA_RTC_RESUME_TIMEOUT": "30",
    "MANA_PRESENCE_GRACE": "0.5",
}


@pytest.fixture(scope="session")
def call_server() -> Iterator[Server]:
    """A node for all tests of the demo's calls."""
    with databases.fresh("sqlite") as url, serving(url, **CALLS) as running:
        yield running


@pytest.fixture(scope="session")
def idle_people() -> Iterator[list[Person]]:
    """Browsers that nobody uses at the moment."""
    idle: list[Person] = []
    yield idle
    for one in idle:
        one.close()


@pytest.fixture
def enter_call(idle_people: list[Person], call_server: Server) -> Iterator[Callable[[Account], Person]]:
    """Signs somebody in, with a browser of their own; an error in the console of one fails the test."""
    used: list[Person] = []

    def enter(account: Account) -> Person:
        one = idle_people.pop() if idle_people else Person(call_server)
        used.append(one)
        one.arrive(account)
        return one

    yield enter
    errors = []
    for one in used:
        try:
            errors += one.errors()
            one.open_nothing()
        except Exception:
            one.close()
            raise
        idle_people.append(one)
    assert not errors
