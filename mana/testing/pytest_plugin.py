"""Fixtures for tests of projects that use mana: a live node of the project, and connected clients.

In the project's ``conftest.py``: ``pytest_plugins = ["mana.testing.pytest_plugin"]``. The node is a process of its own
with a database of its own (``mana.testing.node``), so that what tests see is what users would: nothing is patched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from mana.client import Account, ManaClient
from mana.client.dispatch import Event

STARTS_WITHIN = 90.0  # seconds for the migrations and the first import
TIMEOUT = 10.0


class Node:
    """A node of the project: ``url`` is where it is."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "node.sqlite3"
        self._log = folder / "node.log"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def url(self) -> str:
        """The site's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Starts the process, or another on the same database; returns when it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command(str(self.port)), stdout=log, stderr=log, env=_environment())
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the node ended:\n{self.log}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"the node does not listen:\n{self.log}")

    def manage(self, *arguments: str) -> str:
        """Runs a management command on the node's database; what it printed."""
        done = subprocess.run(
            self._command(*arguments), capture_output=True, text=True, env=_environment(), check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        """SIGTERM: the node drains."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mana.testing.node", str(self._database), *arguments]


def _environment() -> dict[str, str]:
    from django.conf import settings

    # What pytest-django was told may be in pytest's configuration, which the process does not read.
    return {**os.environ, "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE, "PYTHONWARNINGS": "ignore"}


class Person(ManaClient):
    """A connected client that keeps what it receives until a test asks for it."""

    def __init__(self, url: str, account: Account, **options: Any) -> None:
        super().__init__(url, account, **options)
        self.username = account.username
        #: Every frame so far, in order.
        self.received: list[Event] = []
        self._unread: list[Event] = []
        self._news = asyncio.Event()
        self.on("*", self._keep)

    def _keep(self, frame: Event) -> None:
        self.received.append(frame)
        self._unread.append(frame)
        self._news.set()

    async def expect(self, kind: str, *, within: float = TIMEOUT, **fields: Any) -> Event:
        """The next frame of a type with these fields; others are kept. Raises ``TimeoutError``."""
        async with asyncio.timeout(within):
            while True:
                for position, frame in enumerate(self._unread):
                    if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
                        return self._unread.pop(position)
                self._news.clear()
                await self._news.wait()


@pytest.fixture(scope="session")
def mana_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node for the whole run. Each test brings people of its own."""
    node = Node(tmp_path_factory.mktemp("mana-node"))
    node.start()
    yield node
    node.stop()


@pytest_asyncio.fixture
async def mana_person(mana_node: Node) -> AsyncIterator[Callable[..., Awaitable[Person]]]:
    """Makes people with accounts, connected: ``ada = await mana_person()``. ``options`` are those of ``ManaClient``."""
    people: list[Person] = []

    async def make(username: str | None = None, password: str = "a-long-password", **options: Any) -> Person:
        account = Account(username or f"person-{uuid4().hex[:10]}", password, register=True)
        person = Person(mana_node.url, account, **options)
        people.append(person)
        await person.start()
        await person.online(timeout=TIMEOUT)
        return person

    yield make
    for person in people:
        await person.close()
