"""Many datagrams in one system call."""

from __future__ import annotations

import socket

import pytest

from mana_rtc.transport import sendmmsg

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
        batch = sendmmsg.BatchSender(sender.fileno())
        count = sendmmsg.BATCH * 2 + 3
        datagrams = [(bytes((number % 256, 0)) + b"\0x" * number, addresses[number % 2]) for number in range(count)]
        assert batch.send(datagrams) == count
        for number, (data, _) in enumerate(datagrams):
            assert (one, other)[number % 2].recv(2000) == data


def test_what_cannot_be_sent_does_not_stop_the_rest() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        good = sendmmsg.packed_address(socket.AF_INET, receiver.getsockname())
        too_long = bytes(70_000)
        assert sendmmsg.BatchSender(sender.fileno()).send([(b"a", good), (too_long, good), (b"b", good)]) == 3
        assert receiver.recv(10) == b"a"
        assert receiver.recv(10) == b"b"
