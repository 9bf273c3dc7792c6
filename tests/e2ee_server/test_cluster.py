"""Two nodes: ciphertext reaches the devices at the other one over the layer, and from the database without it."""

from __future__ import annotations

import pytest

from tests.e2ee_server.clients import Person, epochs
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.instances import instance
from tests.support.server import serving

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("layer", ["redis", "none"])
async def test_each_device_at_another_node_gets_its_own_ciphertext(layer: str) -> None:
    with databases.fresh("sqlite") as url, instance("redis") as redis:
        environment = {"CHANNEL_LAYER_URL": redis.url if layer == "redis" else ""}
        with serving(url, **environment) as one, serving(url, **environment) as other:
            ada, bob = Person(Account(one), "phone", "laptop"), Person(Account(one), "phone")
            room = ada.account.room(bob.account)
            phone, laptop = ada.phones
            phone.claim(ada, bob)
            headers = {"Authorization": f"Bearer {ada.account.access}"}
            theirs = {"Authorization": f"Bearer {bob.account.access}"}
            async with (
                phone.socket() as sender,
                Socket(other, headers=headers, device_id="laptop") as own,
                Socket(other, headers=theirs, device_id="phone") as at_bob,
            ):
                for number in range(5):
                    await sender.request(
                        "encrypted_fanout",
                        room_id=room,
                        payloads=phone.sealed(f"{number}", laptop, *bob.phones),
                        epochs=epochs(ada, bob),
                    )
                await sender.request(
                    "encrypted_fanout", room_id=room, control=True, payloads=phone.sealed("key", *bob.phones)
                )
                assert [laptop.read(await own.expect("message")) for _ in range(5)] == list("01234")
                assert [bob.phones[0].read(await at_bob.expect("message")) for _ in range(5)] == list("01234")
                assert bob.phones[0].read(await at_bob.expect("encrypted")) == "key"
