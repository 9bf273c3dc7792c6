"""Callers in a room, with or without a bad network between them and the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.rtc.caller import Caller
from tests.rtc.calls.talker import Talker, Talkers
from tests.rtc.network import Link, Network
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

# How long an example takes says more of the machine, which may be busy with browsers, than of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def running_network() -> Iterator[Network]:
    """One for all tests."""
    running = Network().start()
    yield running
    running.stop()


@pytest.fixture
def network(running_network: Network) -> Network:
    """A perfect network, until a test makes it worse."""
    running_network.up, running_network.down = Link(), Link()
    return running_network


@pytest.fixture(scope="session")
def media_server(running_network: Network) -> Iterator[Server]:
    """A server behind the network."""
    with (
        databases.fresh("sqlite") as url,
        serving(
            url,
            LOG_LEVEL=os.environ.get("TEST_RTC_LOG_LEVEL", "DEBUG"),
            MANA_RTC_ADDRESSES="127.0.0.1",
            MANA_RTC_PORT=str(running_network.server_port),
            MANA_RTC_ANNOUNCED_ADDRESSES=f"127.0.0.1:{running_network.port}",
            MANA_RTC_TCP="false",
            MANA_RTC_RESUME_TIMEOUT="8",
        ) as running,
    ):
        yield running
        if "TEST_RTC_LOG" in os.environ:  # where to leave it for whoever looks for the cause of something
            Path(os.environ["TEST_RTC_LOG"]).write_text(running.log)
        assert "Traceback" not in running.log, running.log[-4000:]


@pytest.fixture(scope="session")
def idle_callers() -> Iterator[list[Caller]]:
    """Browsers that nobody uses at the moment."""
    idle: list[Caller] = []
    yield idle
    for one in idle:
        one.close()


@pytest.fixture
def callers(
    media_server: Server, network: Network, idle_callers: list[Caller]
) -> Iterator[Callable[..., list[Caller]]]:
    """Makes people who are in the same room, each with a browser, in the call but without media."""
    used: list[Caller] = []

    def make(count: int, server: Server = media_server) -> list[Caller]:
        accounts = [Account(server) for _ in range(count)]
        room = accounts[0].room(*accounts[1:])
        for account in accounts:
            if idle_callers:
                used.append(idle_callers.pop())
                used[-1].renew(account)
            else:
                used.append(Caller(server, account))
            used[-1].join(room)
        return list(used)

    yield make
    _laid_by(used, idle_callers)


@pytest.fixture
def talkers(idle_callers: list[Caller]) -> Iterator[Talkers]:
    """Makes people with a browser each and calls.js in it, one at each of the nodes that are named."""
    used: list[Caller] = []

    def make(*nodes: Server, **options: Any) -> list[Talker]:
        people = []
        for node in nodes:
            account = Account(node)
            if idle_callers:
                used.append(idle_callers.pop())
                used[-1].renew(account)
            else:
                used.append(Caller(node, account))
            people.append(Talker(used[-1], **options))
        return people

    yield make
    _laid_by(used, idle_callers)


def _laid_by(used: list[Caller], idle: list[Caller]) -> None:
    """Keeps browsers for others; an error in the console of one fails the test."""
    errors = []
    for one in used:
        try:
            errors += one.browser.errors()
            one.browser.open_nothing()
        except Exception:
            one.close()
            raise
        idle.append(one)
    assert not errors
