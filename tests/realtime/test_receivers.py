"""Receivers of signals that fail: of the hub's own queue."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.dispatch import Signal

from mana import signals
from mana.protocol.client import Ping
from mana.realtime import hooks
from mana.realtime.dispatch import dispatch
from mana.realtime.hooks import Hooks


async def test_a_receiver_that_fails_keeps_no_other_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    signal, heard = Signal(), []

    def fails(**kwargs: Any) -> None:
        raise RuntimeError("its own trouble")

    def hears(word: str, **kwargs: Any) -> None:
        heard.append(word)

    signal.connect(fails)
    signal.connect(hears)
    queue = Hooks()
    queue.post(signal, None, word="one")
    queue.post(signal, None, word="two")
    await queue.stop()
    assert heard == ["one", "two"]
    assert "its own trouble" in caplog.text


async def test_who_sends_faster_than_receivers_work_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "BACKLOG", 3)
    monkeypatch.setattr(hooks, "BATCH", 1)
    work, handled = threading.Semaphore(0), 0

    def slow(**kwargs: Any) -> None:
        work.acquire()

    signals.signal_received.connect(slow)
    session: Any = SimpleNamespace(hub=SimpleNamespace(hooks=Hooks()), send=lambda frame: None)
    try:

        async def client() -> None:
            nonlocal handled
            for _ in range(10):
                await dispatch(session, Ping())
                handled += 1

        sending = asyncio.create_task(client())
        for _ in range(50):
            await asyncio.sleep(0)
        assert handled < 5, "its next frame is not taken"
        for _ in range(10):
            work.release()
        await asyncio.wait_for(sending, 10)
        await session.hub.hooks.stop()
        assert handled == 10
    finally:
        signals.signal_received.disconnect(slow)
