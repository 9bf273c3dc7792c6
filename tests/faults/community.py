"""A community under load: nodes, clients that talk all the while, and the check at the end that nothing was lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.faults import audit, history, measures
from tests.faults.clients import PersistentClient
from tests.faults.processes import scripts
from tests.support import databases
from tests.support.client import Account
from tests.support.instances import Link, instance
from tests.support.server import Server

#: Seconds that the clients have at the end to be acked and to catch up.
CATCH_UP = 60
#: Rooms that a community talks in: each client in all of them, in turns.
ROOMS = 2
OPEN_LIMITS = {
    "MANA_RATE_LIMIT_PER_SECOND": "10000",
    "MANA_RATE_LIMIT_BURST": "10000",
    "MANA_HANDSHAKE_RATE": "10000",
    "MANA_HANDSHAKE_BURST": "10000",
    "MANA_MAX_CONNECTIONS_PER_ADDRESS": "10000",
    "MANA_ROOM_CREATION_RATE": "",
    "MANA_PRESENCE_LEASE": "4",
    "MANA_PRESENCE_GRACE": "0.5",
    "MANA_RECONNECT_SPREAD": "0.5",
}


@dataclass
class Site:
    """What a community runs on: a database, a layer and the way to it, and nodes."""

    kind: str
    url: str
    database: Any = None
    layer: Any = None
    link: Link | None = None
    nodes: list[Server] = field(default_factory=list)


@contextlib.contextmanager
def site(
    kind: str,
    *,
    layer: str = "",
    nodes: int = 2,
    server: str = "daphne",
    own_database: bool = False,
    linked: bool = False,
    **environment: str,
) -> Iterator[Site]:
    """Nodes on a fresh database; ``layer`` names an instance that they share, ``linked`` puts a ``Link`` before it."""
    with ExitStack() as stack:
        database = stack.enter_context(instance(kind)) if own_database else None
        url = stack.enter_context(databases.fresh(kind, database.url if database else None))
        made = Site(kind, url, database)
        environment = {**OPEN_LIMITS, **environment}
        if layer:
            made.layer = stack.enter_context(instance(layer))
            address = made.layer.url
            if linked:
                made.link = Link(address)
                stack.callback(made.link.close)
                address = made.link.url
            environment["CHANNEL_LAYER_URL"] = address
        for _ in range(nodes):
            node = Server(url, kind=server, **environment)
            stack.callback(node.stop)
            made.nodes.append(node.start())
        yield made


@dataclass
class Report:
    """What a run was."""

    clients: list[PersistentClient]
    stored: int = 0
    problems: list[str] = field(default_factory=list)
    #: Messages that were acked and are gone, or that somebody never got; and those that are there, or came, twice.
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    #: Bytes of each node's process before the fault and after it, for nodes whose process is the same.
    memory: list[tuple[int, int]] = field(default_factory=list)

    @property
    def closes(self) -> Counter[int]:
        """How the clients' connections ended."""
        return sum((client.closes for client in self.clients), Counter())

    @property
    def reasons(self) -> Counter[str]:
        """The codes of the errors that clients were given."""
        return sum((client.reasons for client in self.clients), Counter())

    @property
    def acked(self) -> int:
        """Messages that were acked."""
        return sum(len(client.history.acked) for client in self.clients)

    @property
    def sent(self) -> int:
        """Messages that were sent, each counted once."""
        return sum(len(client.history.sent) for client in self.clients)

    @property
    def delivered(self) -> int:
        """Messages that were received, by each of the clients that received them."""
        return sum(len(client.history.handled) for client in self.clients)

    @property
    def slowest(self) -> float:
        """Seconds that a live event took to a connected client, at the most."""
        return max(client.slowest for client in self.clients)


class Community:
    """Clients that talk while a test does its worst."""

    def __init__(self, site: Site, accounts: list[Account], clients: list[PersistentClient]) -> None:
        self.site = site
        self.accounts = accounts
        self.clients = clients
        self._before: dict[int, int] = {}

    async def go_on(self, acks: int, *, without: PersistentClient | None = None) -> None:
        """Waits until every client, but for one, has been acked so many more messages."""
        await asyncio.gather(*(client.until_acked(acks) for client in self.clients if client is not without))

    def begin_to_measure(self) -> None:
        """What comes now is compared with how things are now."""
        self._before = {node.process.pid: measures.memory(node) for node in self.site.nodes if node.process is not None}
        for client in self.clients:
            client.forget_delays()

    def memory(self) -> list[tuple[int, int]]:
        """Bytes of the processes that were there when measuring began: then, and now."""
        return [
            (self._before[node.process.pid], measures.memory(node))
            for node in self.site.nodes
            if node.process is not None and node.process.pid in self._before
        ]


@contextlib.asynccontextmanager
async def community(
    site: Site, *, clients: int = 6, pause: float = 0.005, padding: int = 0
) -> AsyncIterator[tuple[Community, Report]]:
    """Talks for the length of the block. After it the report says what was lost, doubled or out of order, or waits.

    Each client sends a message, padded to some bytes, every ``pause`` seconds at the most.
    """
    begun = time.monotonic()
    accounts = [Account(site.nodes[0]) for _ in range(clients)]
    rooms = [accounts[0].room(*accounts[1:]) for _ in range(ROOMS)]
    async with AsyncExitStack() as stack:
        urls = [node.ws for node in site.nodes]
        running = [
            PersistentClient(
                one,
                rooms,
                arrays=bool(n % 2),
                urls=[*urls[n % len(urls) :], *urls[: n % len(urls)]],
                padding=padding,
            )
            for n, one in enumerate(accounts)
        ]
        for client in running:
            stack.push_async_callback(client.stop)
        report = Report(running)
        people = Community(site, accounts, running)
        talking = [asyncio.create_task(talk(client, pause)) for client in running]
        try:
            yield people, report
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
        report.seconds = time.monotonic() - begun
        try:
            async with asyncio.timeout(CATCH_UP):
                for client in running:
                    await client.until(lambda client=client: client.is_all_acked)
                last = say_goodbye(accounts[0], running[0].history, rooms[0])
                for client in running:
                    await client.until_at(last)
        except TimeoutError:
            raise AssertionError("\n".join([*map(repr, running), *(node.log[-3000:] for node in site.nodes)])) from None
        report.memory = people.memory()
        for node in site.nodes:
            if held := await measures.what_stays(node):
                report.problems.append(f"{held} waits in a node with nobody to wait for it")
    for one in accounts:
        one.http.close()
    with scripts(site.url) as process:
        report.problems += process.run(audit.problems)
        stored = process.run(audit.events, *rooms)
    report.stored = len(stored)
    histories = [client.history for client in running]
    report.problems += history.problems(histories, stored)
    report.lost, report.doubled = history.tally(histories, stored)


async def talk(client: PersistentClient, pause: float) -> None:
    """Sends for ever, a message every ``pause`` seconds, and none while too many wait for their acks."""
    for number in count():
        await client.send(f"{client.history.user_id} {number}")
        await asyncio.sleep(pause)


def say_goodbye(account: Account, known: history.ClientHistory, room: str) -> int:
    """One message by REST, so that it reaches all sockets; its sequence."""
    known.sent["goodbye"] = "goodbye"
    message = account.post(f"rooms/{room}/messages", payload="goodbye", ack_id="goodbye")
    known.acked["goodbye"] = [message]
    return int(message["sequence"])
