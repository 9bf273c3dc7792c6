"""A whole evening: a group of several devices and a bot, one offline and back, one removed, one linked in between, a
server that is killed. Afterwards nothing that was said, and no private key, is anywhere at the server."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from mana.client import Account
from mana_e2ee.client import E2EEClient
from mana_e2ee.core import SQLiteStore, Store
from mana_e2ee.core import tables as core_tables
from tests.e2ee_client.people import Person, World
from tests.support import databases
from tests.support.databases import ROOT
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

CANARY = "canary-77b2 the heron sleeps under the third bridge"


@asynccontextmanager
async def bot(server: Server, store: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The echo bot that ships, as a process; its user's id."""
    command = ["-m", "mana_e2ee.client.echo", "--url", server.http, "--username", f"bot-{uuid4().hex[:8]}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--password", uuid4().hex, "--store", str(store), "--register"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 120)).decode().split()
        assert line[:1] == ["ready"], line
        yield line[1], process
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 30)


async def test_an_evening_leaves_nothing_readable_at_the_server(tmp_path: Path) -> None:
    with databases.fresh("sqlite") as url, serving(url, LOG_LEVEL="DEBUG") as server:
        world = World(server)
        try:
            async with bot(server, tmp_path / "bot.sqlite3") as (bot_id, _):
                stores = await _evening(world, bot_id, tmp_path)
            secrets = [secret for store in stores for secret in private(store)]
            with httpx.Client(base_url=server.http, verify=False) as http:
                token = await world.people[0].rest.token()
                headers = {"Authorization": f"Bearer {token}"}
                paths = ("/metrics", "/debug/traces", "/health/ready", "/api/sync?cursor=0&device_id=x", "/api/rooms")
                pages = [http.get(path, headers=headers).text for path in paths]
            public = world.people[0].context.device.record.signing_key
        finally:
            await world.end()
        database = Path(url.removeprefix("sqlite:///"))
        everything = "\n".join([server.log, *pages]).encode() + rows(database)
        # What is looked for can be found: the tables hold what was meant for them.
        assert public in everything
        assert len(secrets) > 100
        for secret in (CANARY.encode(), b"secret plan.txt", *secrets):
            for form in (secret, base64.b64encode(secret).rstrip(b"=")[:-1], secret.hex().encode()):
                assert form not in everything


async def _evening(world: World, bot_id: str, tmp_path: Path) -> list[Store]:
    server = world.server
    ada = await world.person(store=SQLiteStore(tmp_path / "ada.sqlite3"))
    bob, eve = await world.person(), await world.person()
    made = await ada.rest.post("rooms", name="Evening", members=[bob.id, eve.id, bot_id])
    room = str(made["id"])
    frames: list[object] = []
    bob.mana.on("*", frames.append)
    # Everybody talks, and the bot answers.
    await ada.send(room, CANARY)
    for person in (ada, bob, eve):
        await person.hear(f"echo: {CANARY}", within=40)
    # Bob is away, and the server dies while Ada writes.
    await bob.close()
    sending = [asyncio.create_task(ada.send(room, f"{CANARY} {number}")) for number in range(8)]
    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await asyncio.wait_for(asyncio.gather(*sending), 60)
    bob = await world.back(bob)
    for number in range(8):
        await bob.hear(f"{CANARY} {number}") if not _shows(bob, room, f"{CANARY} {number}") else None
        assert _shows(bob, room, f"{CANARY} {number}")
    # Eve is removed, and Bob links another device.
    await ada.groups.remove(room, eve.id)
    await bob.until(lambda: eve.id not in (bob.groups.log(room) or ada.groups.log(room)).members)  # type: ignore[union-attr]
    laptop = await world.person("laptop", of=bob)
    await bob.linking.link(laptop.linking.show_code().text)
    await laptop.noticed("history_imported")
    file = await ada.files.upload("secret plan.txt", CANARY.encode() * 10, "text/plain")
    await ada.send(room, f"{CANARY} without Eve", attachments=[file])
    for person in (bob, laptop):
        heard = await person.hear(f"{CANARY} without Eve")
        assert heard.content is not None
        assert await person.files.download(heard.content["attachments"][0]) == CANARY.encode() * 10
    await laptop.hear(f"echo: {CANARY} without Eve", within=40)
    assert not _shows(eve, room, f"{CANARY} without Eve")
    await ada.backups.enable()
    assert CANARY not in str(frames)
    stores: list[Store] = [person.store for person in (ada, bob, laptop, eve)]
    return [*stores, SQLiteStore(tmp_path / "bot.sqlite3")]


def _shows(person: Person, room: str, text: str) -> bool:
    return any(one.text == text for one in person.timeline(room))


def private(store: Store) -> list[bytes]:
    """The private keys of a device, and what else must stay in its store."""
    found = []
    with store.transaction() as tx:
        for _, row in tx.scan(core_tables.DEVICE):
            found += [row[-64:-32], row[-32:]]
        for table in (core_tables.SIGNED_PREKEY, core_tables.KEM_PREKEY):
            found += [row[16:] for _, row in tx.scan(table)]
        found += [row for _, row in tx.scan(core_tables.ONE_TIME)]
        for name in (b"account_seed", b"recovery"):
            stored = tx.get("client_fact", name)
            if stored is not None:
                found.append(base64.b64decode(stored.strip(b'"')))
    return found


def rows(path: Path) -> bytes:
    """Every value of every row, and the files themselves: what was deleted may still be in them."""
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    values = [
        value if isinstance(value, bytes) else str(value).encode()
        for name in names
        for row in connection.execute(f'SELECT * FROM "{name}"')
        for value in row
    ]
    connection.close()
    return b"\n".join([*values, *(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))])


async def test_the_store_is_the_device(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "device.sqlite3"
    store = SQLiteStore(path)
    account = Account(f"p-{uuid4().hex[:8]}", uuid4().hex, register=True)
    async with E2EEClient(server.http, account, store, device_id="desk") as client:
        first = client.context.device.record
    assert path.stat().st_mode & 0o777 == 0o600
    async with E2EEClient(server.http, account, store) as client:
        assert client.context.device.record == first
        assert client.mana.device_id == "desk"
    other = Account(f"p-{uuid4().hex[:8]}", uuid4().hex, register=True)
    with pytest.raises(ValueError, match="the store is that of"):
        await E2EEClient(server.http, other, store).start()
    store.close()
