"""A node whose calls ring and whose seats cool quickly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import databases
from tests.support.server import Server, serving

FAST = {"MANA_RING_TIMEOUT": "6", "MANA_RTC_RESUME_TIMEOUT": "6", "MANA_RTC_ADDRESSES": "127.0.0.1"}


@pytest.fixture(scope="session")
def calls_server() -> Iterator[Server]:
    """A node for all tests of calls."""
    with (
        databases.fresh("sqlite") as url,
        serving(
            url,
            **FAST,
            MANA_STUN_SERVERS="stun:stun.example.com:3478",
            MANA_TURN_SERVERS="turn:turn.example.com:3478?transport=udp",
            MANA_TURN_SECRET="north-by-northwest",
            MANA_TURN_CREDENTIALS_LIFETIME="600",
        ) as running,
    ):
        yield running
        assert "Traceback" not in running.log, running.log[-4000:]


@pytest.fixture
def server(calls_server: Server) -> Server:
    """The one that accounts are made on."""
    return calls_server
