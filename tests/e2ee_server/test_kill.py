"""kill -9 of the server: every ciphertext whose message was acked waits for its device, and can be read."""

from __future__ import annotations

import pytest

from tests.e2ee_server.clients import Person, epochs
from tests.support import databases
from tests.support.client import Account
from tests.support.server import serving

pytestmark = pytest.mark.slow

MESSAGES = 15


async def test_no_acked_ciphertext_is_lost_by_a_kill() -> None:
    with databases.fresh("sqlite") as url, serving(url) as server:
        ada, bob = Person(Account(server), "phone", "laptop"), Person(Account(server), "phone")
        room = ada.account.room(bob.account)
        phone, laptop = ada.phones
        phone.claim(ada, bob)
        acked: dict[str, str] = {}
        for kill in range(3):
            async with phone.socket() as socket:
                pending = {}
                for number in range(MESSAGES):
                    text = f"{kill}-{number}"
                    pending[text] = {
                        "room_id": room,
                        "payloads": phone.sealed(text, laptop, *bob.phones),
                        "epochs": epochs(ada, bob),
                        "ack_id": text,
                    }
                    await socket.send("encrypted_fanout", **pending[text])
                # Some of them are acked, and some on their way when the process dies.
                while len(pending) > MESSAGES // 2:
                    ack = await socket.expect("ack")
                    acked[ack["message_id"]] = ack["ack_id"]
                    del pending[ack["ack_id"]]
                server.kill()
            server.start()
            async with phone.socket() as socket:
                for frame in pending.values():
                    ack = await socket.request("encrypted_fanout", **frame)
                    acked[ack["message_id"]] = ack["ack_id"]
        for device in (laptop, *bob.phones):
            frames = device.waiting()
            assert [frame["id"] for frame in frames] == sorted(acked, key=lambda one: _sequence(frames, one))
            assert {frame["id"]: device.read(frame) for frame in frames} == acked
    assert len(acked) == 3 * MESSAGES


def _sequence(frames: list[dict[str, object]], message_id: str) -> int:
    return next(int(str(frame["sequence"])) for frame in frames if frame["id"] == message_id)
