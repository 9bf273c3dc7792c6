"""Receivers of signals that fail: of the hub's own queue."""

from __future__ import annotations

from typing import Any

import pytest
from django.dispatch import Signal

from mana.realtime.hooks import Hooks


async def test_a_receiver_that_fails_keeps_no_other_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    signal, heard = Signal(), []

    def fails(**kwargs: Any) -> None:
        raise RuntimeError("its own trouble")

    def hears(word: str, **kwargs: Any) -> None:
        heard.append(word)

    signal.connect(fails)
    signal.connect(hears)
    hooks = Hooks()
    hooks.post(signal, None, word="one")
    hooks.post(signal, None, word="two")
    await hooks.stop()
    assert heard == ["one", "two"]
    assert "its own trouble" in caplog.text
