"""People with the client that ships, on a real node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from mana.client import Account
from mana_e2ee.client import E2EEClient, Message, Notice
from mana_e2ee.core import MemoryStore, Store, tables
from tests.support.server import Server

TIMEOUT = 20.0


class Person(E2EEClient):
    """A device that keeps what it hears."""

    def __init__(self, server: Server, account: Account, store: Store, device_id: str, url: str | None = None) -> None:
        super().__init__(url or server.http, account, store, device_id=device_id)
        self.server = server
        self.account = account
        self.heard: list[Message] = []
        self.notices: list[Notice] = []
        self._news = asyncio.Event()
        self.on_message(lambda message: self._note(self.heard, message))
        self.on_notice(lambda notice: self._note(self.notices, notice))

    def _note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self._news.set()

    @property
    def id(self) -> str:
        """The user's."""
        return self.context.address.user

    async def until(self, condition: Callable[[], Any], *, within: float = TIMEOUT) -> Any:
        """Waits until something holds that changes with what is heard."""
        async with asyncio.timeout(within):
            while not (found := condition()):
                self._news.clear()
                waiting = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({waiting}, timeout=0.1)
                waiting.cancel()
        return found

    async def until_rest(self, path: str, condition: Callable[[Any], Any]) -> None:
        """Asks the server until it answers something that fits."""
        async with asyncio.timeout(TIMEOUT):
            while not condition(await self.rest.get(path)):
                await self.mana.request("ping")

    async def hear(self, text: str, *, within: float = TIMEOUT) -> Message:
        """The message with this text, once it is read."""
        found: Message = await self.until(lambda: next(iter(self.find(text)), None), within=within)
        return found

    def find(self, text: str) -> list[Message]:
        """The messages with this text that were told."""
        return [one for one in self.heard if (one.content or {}).get("text") == text]

    async def noticed(self, kind: str) -> Notice:
        """The first notice of a kind."""
        found: Notice = await self.until(lambda: next((one for one in self.notices if one.kind == kind), None))
        return found

    async def group(self, *others: Person) -> str:
        """The id of a new group."""
        made = await self.rest.post("rooms", name="A group", members=[one.id for one in others])
        return str(made["id"])


class World:
    """Makes people on one server, and lets all of them go in the end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.people: list[Person] = []

    async def person(self, device_id: str = "phone", *, of: Person | None = None, **options: Any) -> Person:
        """Somebody new, or another device of somebody."""
        account = of.account if of is not None else Account(f"p-{uuid4().hex[:10]}", uuid4().hex, register=True)
        made = Person(self.server, account, options.pop("store", None) or MemoryStore(), device_id, **options)
        self.people.append(made)
        await made.start()
        return made

    async def back(self, person: Person) -> Person:
        """The same device, in a new process."""
        again = Person(person.server, person.account, person.store, "ignored")
        self.people.append(again)
        await again.start()
        return again

    async def end(self) -> None:
        """Closes everybody."""
        for person in self.people:
            await person.close()


def lose(person: Person, *names: str) -> None:
    """Empties tables of a store, as a bug or a damaged disk would."""
    with person.store.transaction() as tx:
        for name in names:
            for key, _ in tx.scan(name):
                tx.delete(name, key)


async def one_without_a_session(world: World) -> tuple[Person, Person, str]:
    """Two who have written to each other, of whom the second has lost the session; and their room."""
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "one")
    await bob.send(room, f"answer to {(await bob.hear('one')).message_id}")
    await ada.until(lambda: ada.heard)
    lose(bob, tables.SESSION, tables.ACTIVE)
    return ada, bob, room
