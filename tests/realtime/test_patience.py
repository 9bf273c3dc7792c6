"""What follows a commit waits for a database that is away, and not for ever."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.dispatch import Signal

from mana.realtime import database, hooks
from mana.realtime.hooks import Hooks


class Away:
    """A database that is away for some calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise OperationalError("The database is away.")
        return "done"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PAUSE", 0.0)


def patient(function: Any) -> Any:
    function.__qualname__ = "away"
    return database.patient(function)


def test_it_is_called_again_until_the_database_is_back() -> None:
    away = Away(3)
    assert patient(away)() == "done"
    assert away.calls == 4


def test_it_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.0)
    with pytest.raises(OperationalError):
        patient(Away(10**9))()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_it_is_called_once() -> None:
    away = Away(1)
    with pytest.raises(OperationalError), transaction.atomic():
        patient(away)()
    assert away.calls == 1


async def test_a_connection_that_died_under_a_receiver_is_closed_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(hooks, "drop_dead_connections", lambda: closed.append(True))
    signal = Signal()

    def fails(**kwargs: Any) -> None:
        raise OperationalError("The connection is closed.")

    signal.connect(fails)
    running = Hooks()
    running.post(signal, None)
    await running.stop()
    assert closed == [True]
