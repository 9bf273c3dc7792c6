"""Many datagrams in one system call."""

from __future__ import annotations

import socket

import pytest

from mana_rtc.transport import sendmmsg
from tests.rtc.bots import PacketTrack, house, until

pytestmark = pytest.mark.skipif(not sendmmsg.available(), reason="this C library has no sendmmsg")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_all_arrive_where_they_were_sent(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with (
        socket.socket(family, socket.SOCK_DGRAM) as sender,
        socket.socket(family, socket.SOCK_DGRAM) as one,
        socket.socket(family, socket.SOCK_DGRAM) as other,
    ):
        for receiver in (one, other):
            receiver.bind((host, 0))
            receiver.settimeout(5)
        addresses = [sendmmsg.packed_address(family, receiver.getsockname()) for receiver in (one, other)]
        batch = sendmmsg.BatchSender(sender.fileno(), family)
        for size in (sendmmsg.BATCH, 3, sendmmsg.BATCH):  # the places are used again, for shorter ones too
            datagrams = [bytes((number, size)) + b"\0x" * (3 * number + size) for number in range(size)]
            for number, data in enumerate(datagrams):
                assert batch.add(data, addresses[number % 2])
            assert batch.waiting == size
            assert batch.flush() == 0
            assert batch.waiting == 0
            for number, data in enumerate(datagrams):
                assert (one, other)[number % 2].recv(2000) == data


def test_what_cannot_be_sent_does_not_stop_the_rest() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        good = sendmmsg.packed_address(socket.AF_INET, receiver.getsockname())
        nowhere = sendmmsg.packed_address(socket.AF_INET, ("255.255.255.255", 9))  # the kernel refuses it
        batch = sendmmsg.BatchSender(sender.fileno(), socket.AF_INET)
        assert [batch.add(data, to) for data, to in ((b"a", good), (b"no", nowhere), (b"b", good))] == [True] * 3
        assert not batch.add(bytes(sendmmsg.PLACE + 1), good)
        assert batch.flush() == 1
        assert receiver.recv(10) == b"a"
        assert receiver.recv(10) == b"b"


async def test_without_it_datagrams_are_sent_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sendmmsg, "available", lambda: False)
    async with house() as home:
        ann, ben = await home.bot(), await home.bot()
        await ann.publish({"camera": PacketTrack("video", per_second=50)})
        await until(lambda: home.participant(ben).subscriber.transport.counters.packets_out > 20, "packets flow")
        assert home.engine.mux.dropped == 0
