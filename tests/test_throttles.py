"""Attempts are counted, also while the cache that counts them is away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from mana.protocol import ManaError
from mana.throttles import ASK_AGAIN_AFTER, Counts, Throttle, counts
from tests.support import databases
from tests.support.client import Account
from tests.support.server import free_port, serving


class Fragile(LocMemCache):
    """A cache that is away whenever ``is_away`` says so."""

    is_away = False
    asked = 0

    def get(self, *arguments: Any, **options: Any) -> Any:
        """What is kept."""
        self._be_asked()
        return super().get(*arguments, **options)

    def set(self, *arguments: Any, **options: Any) -> None:
        """Keeps."""
        self._be_asked()
        super().set(*arguments, **options)

    def _be_asked(self) -> None:
        Fragile.asked += 1
        if Fragile.is_away:
            raise ConnectionError("Nobody listens.")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, which a test may change; and counts of its own in a fragile cache."""
    now = [1000.0]
    monkeypatch.setattr(Counts, "timer", staticmethod(lambda: now[0]))
    monkeypatch.setattr(Fragile, "is_away", False)
    fresh = Counts()
    monkeypatch.setattr(counts, "_own", fresh._own)
    monkeypatch.setattr(counts, "_away_until", 0.0)
    with override_settings(
        CACHES={"default": {"BACKEND": f"{__name__}.Fragile", "LOCATION": "fragile"}}, MANA={"JOIN_RATE": "3/hour"}
    ):
        caches["default"].clear()
        counts._own.clear()
        yield now
        counts._own.clear()


def taken(throttle: Throttle, key: str = "ann") -> int:
    """How often something could be done."""
    for number in range(10):
        with contextlib.suppress(ManaError):
            throttle.take(key)
            continue
        return number
    return 10


def test_while_the_cache_is_away_the_process_counts_for_itself(clock: list[float]) -> None:
    throttle = Throttle("JOIN_RATE")
    Fragile.is_away = True
    assert taken(throttle) == 3
    Fragile.is_away = False
    clock[0] += ASK_AGAIN_AFTER
    assert taken(throttle) == 3  # the cache knows of nothing
    assert taken(throttle, "ben") == 3


def test_a_cache_that_is_away_is_not_asked_each_time(clock: list[float]) -> None:
    Fragile.is_away, Fragile.asked = True, 0
    assert taken(Throttle("JOIN_RATE")) == 3
    assert Fragile.asked == 1
    clock[0] += ASK_AGAIN_AFTER
    counts.get("anything")
    assert Fragile.asked == 2


@pytest.mark.slow
def test_people_sign_in_and_passwords_are_not_guessed_without_the_cache() -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    with databases.fresh("sqlite") as url, serving(url, CACHE_URL=away, MANA_SIGN_IN_RATE="3/hour") as server:
        alice, bob = Account(server), Account(server)
        assert alice.sign_in_again()
        guess = {"username": bob.username, "password": "a guess"}
        answers = [alice.http.post("/api/auth/token", json=guess) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert int(answers[-1].headers["Retry-After"]) > 60
        assert "The cache is away" in server.log
