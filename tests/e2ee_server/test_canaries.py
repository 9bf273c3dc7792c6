"""After a whole scenario no plaintext and no private key is in any table, log or frame of the server."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mana_e2ee.core import AccountKey, MemoryStore
from mana_e2ee.core import tables as core_tables
from tests.e2ee_server.clients import Person, Phone, b64, epochs, keys_of
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

CANARY = "canary-4f1c: the eagle lands at nine, bring 31337 marbles"


async def test_no_plaintext_and_no_private_key_is_on_the_server() -> None:
    with databases.fresh("sqlite") as url, serving(url, LOG_LEVEL="DEBUG") as server:
        ada, bob = Person(Account(server), "phone", "laptop"), Person(Account(server), "phone")
        frames = await _scenario(ada, bob)
        secrets = [*_private(ada), *_private(bob)]
        pages = [server.log, str(frames), _served(server, ada)]
        everything = "\n".join(pages).encode() + _tables(Path(url.removeprefix("sqlite:///")))
        # What is looked for can be found: the tables hold what was meant for them.
        assert ada.account.username.encode() in everything
        assert bytes(ada.phones[0].device.record.signing_key) in everything
    assert len(secrets) > 20
    for secret in (CANARY.encode(), *secrets):
        for form in (secret, base64.b64encode(secret).rstrip(b"=")[:-1], secret.hex().encode(), _json(secret)):
            assert form not in everything


async def _scenario(ada: Person, bob: Person) -> list[dict[str, Any]]:
    """Everything that the server takes part in, and some of what it must refuse."""
    room = ada.account.room(bob.account)
    phone, laptop = ada.phones
    theirs = bob.phones[0]
    phone.claim(ada, bob)
    frames: list[dict[str, Any]] = []
    async with phone.socket() as sender, theirs.socket() as other:
        payloads = phone.sealed(CANARY, laptop, theirs)
        sent = {"room_id": room, "payloads": payloads, "epochs": epochs(ada, bob)}
        await sender.request("encrypted_fanout", **sent)
        message = await other.expect("message")
        assert theirs.read(message) == CANARY
        await other.request("encrypted_ack", message_ids=[message["id"]])
        reply = {"room_id": room, "payloads": {}, "epochs": epochs(ada, bob)}
        theirs.claim(ada)
        reply["payloads"] = theirs.sealed(CANARY, phone, laptop)
        await other.request("encrypted_fanout", **reply)
        assert phone.read(await sender.expect("message")) == CANARY
        await sender.request("encrypted_fanout", room_id=room, control=True, payloads=phone.sealed(CANARY, theirs))
        assert theirs.read(await other.expect("encrypted")) == CANARY
        await _mistakes(sender, phone, room, ada, bob)
        rotated = phone.device.rotate(force=True)
        assert rotated is not None
        await sender.request("key_exchange", payload=keys_of(rotated))
        keys = [b64(key.to_bytes()) for key in phone.device.refill(4)]
        await sender.request("prekey_refill", payload={"one_time": keys})
        tablet = Phone(bob.account, "tablet")
        tablet.publish()
        bob.vouch(theirs, tablet)
        assert (await sender.refusal("encrypted_fanout", **sent))["code"] == "stale_device_list"
        bob.account.http.delete("/api/devices/tablet")
        await sender.request("ping")
        frames += [*sender.received, *other.received]
    assert laptop.read(laptop.waiting()[0]) == CANARY
    return frames


async def _mistakes(socket: Any, phone: Phone, room: str, ada: Person, bob: Person) -> None:
    """A client that sends what must stay with it: it is refused, and nothing is kept or repeated."""
    secret = next(_private(ada))
    keys = keys_of(phone.device.publish_bundle(one_time=0))
    for wrong in ({"private_key": b64(secret)}, {"record": b64(secret)}, {"one_time": [b64(secret)]}):
        assert (await socket.refusal("key_exchange", payload={**keys, **wrong}))["code"] == "invalid"
        assert phone.account.http.put("/api/e2ee/devices/phone", json={**keys, **wrong}).status_code == 400
    for text in (CANARY, b64(CANARY.encode())):
        payloads = {bob.account.id: {"phone": text}}
        refusal = await socket.refusal("encrypted_fanout", room_id=room, payloads=payloads, epochs=epochs(ada, bob))
        assert refusal["code"] == "invalid"


def _private(person: Person) -> Iterator[bytes]:
    """The private keys of somebody's devices and their account key."""
    yield person.key.seed
    for phone in person.phones:
        yield from _private_of(phone.store)
    assert isinstance(person.key, AccountKey)


def _private_of(store: MemoryStore) -> Iterator[bytes]:
    with store.transaction() as tx:
        (device,) = [row for _, row in tx.scan(core_tables.DEVICE)]
        yield device[-64:-32]
        yield device[-32:]
        for table in (core_tables.SIGNED_PREKEY, core_tables.KEM_PREKEY):
            for _, row in tx.scan(table):
                yield row[16:]
        for _, row in tx.scan(core_tables.ONE_TIME):
            yield row


def _json(secret: bytes) -> bytes:
    """As a list of numbers, which is what a Uint8Array becomes."""
    return ",".join(map(str, secret)).encode()


def _tables(path: Path) -> bytes:
    """Every value of every row, and the file itself with its journal: what was deleted may still be in it."""
    with sqlite3.connect(path) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [
            value if isinstance(value, bytes) else str(value).encode()
            for name in names
            for row in connection.execute(f'SELECT * FROM "{name}"')
            for value in row
        ]
    connection.close()
    files = [one.read_bytes() for one in path.parent.glob(f"{path.name}*")]
    return b"\n".join([*values, *files])


def _served(server: Server, person: Person) -> str:
    """What the server shows of itself and of the room."""
    pages = [person.account.http.get(path).text for path in ("/metrics", "/debug/traces", "/health/ready")]
    return "\n".join([*pages, str(person.account.get("sync", cursor=0, device_id="nobody")), server.log])
