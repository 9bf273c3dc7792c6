"""Comings and goings that are stored and then told: neither a failure between the two nor another node loses one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mana.realtime import presence
from mana.realtime.identity import Identity
from mana.realtime.presence import Presence


class Database:
    """The rows of sessions, as the stores would have them, and what happens between two of the hub's calls."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.between: dict[str, Callable[[], None]] = {}
        self.fails: set[str] = set()
        self.dead = ["first", "second"]

    async def run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        name = function.__name__
        if name in self.fails:
            self.fails.discard(name)
            raise ConnectionError(name)
        answer = getattr(self, name)(*arguments, **options)
        self.between.pop(name, lambda: None)()
        return answer

    def online_users(self, users: set[str], *, except_sessions: Any = ()) -> set[str]:
        return {user for session, user in self.rows.items() if user in users and session not in except_sessions}

    def add_sessions(self, rows: list[Any]) -> None:
        self.rows |= {row.id: row.user_id for row in rows}

    def remove_sessions(self, sessions: list[str]) -> None:
        for session in sessions:
            self.rows.pop(session, None)

    def mark_last_seen(self, users: set[str]) -> None: ...

    def announcements_of(self, users: list[str], *, online: bool, at: Any) -> list[tuple[str, bool]]:
        return [(user, online) for user in users]

    def begin_node(self, node_id: str) -> set[str]:
        return {"left behind"}

    def renew_node(self, node_id: str) -> bool:
        return True

    def dead_nodes(self) -> list[str]:
        return list(self.dead)

    def bury_node(self, node_id: str) -> set[str]:
        self.dead.remove(node_id)
        return {f"of the {node_id}"}


class FakeHub:
    """What presence asks of its hub."""

    def __init__(self) -> None:
        self.node_id = "here"
        self.database = Database()
        self.sessions: dict[str, Any] = {}
        self.told: list[tuple[str, bool]] = []
        self.loop = self

    def time(self) -> float:
        return 1000.0

    def announce(self, announcements: list[tuple[str, bool]]) -> None:
        self.told += announcements


def socket_of(user: str, name: str) -> Any:
    """A session, as far as presence looks at it."""
    return SimpleNamespace(id=name, device_id="phone", identity=Identity(user, user, user))


@pytest.fixture
def hub(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub on a database that does what the test says."""
    settings.MANA = {"PRESENCE_GRACE": 0}
    monkeypatch.setattr(presence, "SessionRow", lambda **fields: type("Row", (), fields))
    return FakeHub()


async def look(one: Presence) -> None:
    """One turn of the task, which goes on after a failure."""
    for _ in range(3):
        try:
            await one._look()
            return
        except ConnectionError:
            pass


@pytest.mark.parametrize("failure", ["online_users", "mark_last_seen", "announcements_of"])
async def test_who_went_is_told_though_the_database_fails_in_between(hub: Any, failure: str) -> None:
    one = Presence(hub)
    hub.database.rows["a"] = "ann"
    one.went(socket_of("ann", "a"))
    hub.database.fails = {failure}
    await look(one)
    assert hub.told == [("ann", False)]


async def test_who_came_is_told_though_the_database_fails_in_between(hub: Any) -> None:
    one = Presence(hub)
    one.came(socket_of("ann", "a"))
    hub.database.fails = {"announcements_of"}
    await look(one)
    assert hub.told == [("ann", True)]


async def test_those_of_dead_nodes_are_told_though_the_database_fails_in_between(hub: Any) -> None:
    one = Presence(hub)
    hub.database.between["bury_node"] = lambda: hub.database.fails.add("bury_node")
    for _ in range(2):
        with contextlib.suppress(ConnectionError):
            await one._renew()
    await look(one)
    assert sorted(hub.told) == [("left behind", False), ("of the first", False), ("of the second", False)]


async def test_who_comes_while_another_node_forgets_them_is_told_to_be_there(hub: Any) -> None:
    """The other node looks after it has removed its own row, and before ours is there."""
    hub.database.rows["old"] = "ann"
    hub.database.between["online_users"] = lambda: hub.database.remove_sessions(["old"])
    one = Presence(hub)
    one.came(socket_of("ann", "new"))
    await look(one)
    assert hub.told == [("ann", True)]


async def test_who_comes_back_at_another_node_meanwhile_is_told_to_be_there_after_all(hub: Any) -> None:
    hub.database.rows["old"] = "ann"
    hub.database.between["mark_last_seen"] = lambda: hub.database.rows.update({"new": "ann"})
    one = Presence(hub)
    one.went(socket_of("ann", "old"))
    await look(one)
    assert hub.told == [("ann", False), ("ann", True)]


async def test_of_two_nodes_that_somebody_comes_to_at_once_at_least_one_tells(hub: Any) -> None:
    hub.database.between["add_sessions"] = lambda: hub.database.rows.update({"other": "ann"})
    one = Presence(hub)
    one.came(socket_of("ann", "new"))
    await look(one)
    assert hub.told == [("ann", True)]
