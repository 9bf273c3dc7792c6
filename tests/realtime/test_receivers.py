"""Receivers of signals that fail: of the hub's own queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.dispatch import Signal

from mana.realtime.hooks import Hooks


async def test_a_receiver_that_fails_keeps_no_other_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    signal, heard = Signal(), []
    both = asyncio.Event()

    async def fails(**kwargs: Any) -> None:
        raise RuntimeError("its own trouble")

    async def hears(word: str, **kwargs: Any) -> None:
        heard.append(word)
        if len(heard) == 2:
            both.set()

    signal.connect(fails)
    signal.connect(hears)
    hooks = Hooks()
    hooks.post(signal, None, word="one")
    hooks.post(signal, None, word="two")
    async with asyncio.timeout(10):
        await both.wait()
    assert heard == ["one", "two"]
    assert "its own trouble" in caplog.text
    await hooks.stop()
