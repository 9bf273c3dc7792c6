"""What strangers send to the media port, and what participants do to each other: nothing dies, nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from random import Random
from typing import Any

import pylibsrtp
import pytest

from mana_rtc.transport import stun
from mana_rtc.transport.config import TransportConfig
from mana_rtc.transport.mux import Mux, local_addresses
from mana_rtc.transport.peer import MAX_SSRCS
from mana_rtc.transport.tcp import MAX_UNPROVEN
from tests.rtc.bots import House, PacketTrack, house, until


def hostile(chance: Random) -> bytes:  # noqa: PLR0911
    """A datagram that nobody with good intentions sends."""
    kind = chance.randrange(9)
    noise = chance.randbytes(chance.choice((0, 1, 2, 11, 12, 13, 19, 20, 40, 200, 1400)))
    if kind == 0:
        return b""
    if kind == 1:
        return chance.randbytes(60_000)
    if kind == 2:
        return bytes((chance.randrange(128, 192),)) + chance.randbytes(chance.choice((1499, 1600, 2047, 3000)))
    if kind == 3:  # RTP
        return bytes((chance.randrange(128, 192), chance.randrange(256))) + noise
    if kind == 4:  # RTCP
        return bytes((chance.randrange(128, 192), chance.randrange(192, 224))) + noise
    if kind == 5:  # DTLS
        return bytes((chance.randrange(20, 64),)) + b"\xfe\xfd" + noise
    if kind == 6:  # STUN, as good as right
        body = chance.randbytes(chance.randrange(0, 80, 4))
        return struct.pack("!HHI", chance.choice((1, 0x101, 0x111, 0x3FFF)), len(body), stun.COOKIE) + bytes(12) + body
    if kind == 7:
        return stun.build(1, chance.randbytes(12), {stun.USERNAME: noise[:500]}, "guess")
    return noise


async def call(home: House) -> tuple[Any, Any]:
    """Two bots, one of which publishes."""
    ann, ben = await home.bot(), await home.bot()
    await ann.publish({"camera": PacketTrack("video", per_second=50), "microphone": PacketTrack("audio")})
    await until(lambda: flowing(home, ben) > 10, "packets flow")
    return ann, ben


def flowing(home: House, bot: Any) -> int:
    """Packets sent to a bot."""
    return int(home.participant(bot).subscriber.transport.counters.packets_out)


async def goes_on(home: House, bot: Any) -> None:
    """Media is still sent, and taken."""
    before = flowing(home, bot)
    await until(lambda: flowing(home, bot) > before + 20, "packets still flow")


async def test_strangers_do_no_harm_and_are_not_remembered() -> None:
    async with house() as home:
        _, ben = await call(home)
        mux = home.engine.mux
        endpoint = mux._udp[0]
        routes, peers, ufrags = len(endpoint.routes), len(mux.peers), len(mux._ufrags)
        chance = Random(7)
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
        for number in range(4000):
            sockets[number % 20].sendto(hostile(chance), ("127.0.0.1", mux.port))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await goes_on(home, ben)
        assert endpoint.failures == 0
        assert (len(endpoint.routes), len(mux.peers), len(mux._ufrags)) == (routes, peers, ufrags)
        assert mux.strays > 1000
        for one in sockets:
            one.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.recv(1)  # nobody was answered
            one.close()


async def test_a_spoofed_source_does_no_harm() -> None:
    """Datagrams that seem to come from a participant: garbage, replays, alerts, another's checks."""
    async with house() as home:
        ann, ben = await call(home)
        mux = home.engine.mux
        endpoint = mux._udp[0]
        publisher = home.participant(ann).publisher.transport
        address = publisher.ice.selected.address
        recorded: list[bytes] = []
        receive = publisher.receive

        def record(path: Any, data: bytes, now: float) -> None:
            recorded.append(data)
            receive(path, data, now)

        publisher.receive = record
        await until(lambda: len(recorded) > 30, "packets are recorded")
        publisher.receive = receive
        packets, refused = publisher.counters.packets_in, publisher.counters.refused
        spoof = endpoint.routes[address]
        chance = Random(11)
        now = asyncio.get_running_loop().time()
        media = [data for data in recorded if 127 < data[0] < 192]
        for data in media:
            publisher.receive(spoof, data, now)  # a replay
        assert publisher.counters.packets_in == packets
        assert publisher.counters.refused == refused + len(media)
        for _ in range(2000):
            data = hostile(chance)
            if data and data[0] > 3:
                publisher.receive(spoof, data[:2048], now)
            elif data:
                mux._unrouted(endpoint, address, data, now)
        await goes_on(home, ben)
        assert endpoint.failures == 0
        assert not publisher.is_closed


async def test_a_participant_cannot_take_anothers_address() -> None:
    """Ben, who is in the call, sends an authentic check that seems to come from Ann's address."""
    async with house() as home:
        ann, ben = await call(home)
        mux = home.engine.mux
        endpoint = mux._udp[0]
        victim = home.participant(ann).publisher.transport
        thief = home.participant(ben).subscriber.transport
        address = victim.ice.selected.address
        generation = thief.ice.current
        username = f"{generation.ufrag}:{generation.remote_ufrag}".encode()
        request = stun.build(
            stun.BINDING_REQUEST, b"x" * 12, {stun.USERNAME: username, stun.USE_CANDIDATE: b""}, generation.pwd
        )
        mux._unrouted(endpoint, address, request, victim.ice.selected.last_seen + 1)
        assert endpoint.routes[address].peer is victim
        selected = thief.ice.selected
        # Nor can he have his media sent to somebody who did not ask for it.
        mux._unrouted(endpoint, ("127.0.0.9", 9), request, victim.ice.selected.last_seen + 1)
        assert thief.ice.selected is selected
        await goes_on(home, ben)


async def test_garbage_of_a_participant_ends_nothing_of_others() -> None:
    """Malformed packets inside of the encryption."""
    async with house() as home:
        ann, ben = await call(home)
        chance = Random(13)
        dtls = ann.publishing.getSenders()[0].transport
        for number in range(600):
            size = chance.choice((8, 12, 13, 20, 100, 1000))
            head = bytes((chance.randrange(128, 192), chance.choice((96, 97, 111, *range(200, 208)))))
            with contextlib.suppress(pylibsrtp.Error):  # some of it libsrtp does not even encrypt
                await dtls._send_rtp(head + chance.randbytes(size - 2))
            if number % 20 == 0:
                await asyncio.sleep(0)
        await goes_on(home, ben)
        assert home.engine.mux._udp[0].failures == 0
        publisher = home.participant(ann).publisher
        assert len(publisher._receivers) <= 64


async def test_media_over_tcp() -> None:
    """An RFC 4571 client: authentic checks are answered; what is not one is hung up on."""
    async with house(transport={"udp": False}) as home:
        ann = await home.bot()
        port = home.engine.mux.port
        assert all(" tcp " in one and "tcptype passive" in one for one in home.engine.mux.candidates())
        transport = home.participant(ann).subscriber.transport
        generation = transport.ice.current
        request = stun.build(
            stun.BINDING_REQUEST,
            b"x" * 12,
            {stun.USERNAME: f"{generation.ufrag}:them".encode(), stun.USE_CANDIDATE: b""},
            generation.pwd,
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        framed = len(request).to_bytes(2) + request
        for part in (framed[:1], framed[1:30], framed[30:] + framed[:5], framed[5:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        for _ in range(2):
            length = int.from_bytes(await reader.readexactly(2))
            assert stun.parse(await reader.readexactly(length)).kind == stun.BINDING_RESPONSE
        assert transport.ice.selected is not None
        writer.close()
        for garbage in (
            b"\0\4\x80abc",
            b"\xff\xff" + bytes(100),
            (20).to_bytes(2) + bytes(20),
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            other_reader, other = await asyncio.open_connection("127.0.0.1", port)
            other.write(garbage)
            assert await asyncio.wait_for(other_reader.read(10), 5) == b""
            other.close()


async def test_connections_that_prove_nothing_are_few() -> None:
    async with house() as home:
        port = home.engine.mux.port
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_UNPROVEN + 6)]
        # The oldest give way, so that who floods keeps nobody out who proves itself.
        assert [await asyncio.wait_for(reader.read(1), 5) for reader, _ in streams[:6]] == [b""] * 6
        assert len(home.engine.mux._tcp.paths) == MAX_UNPROVEN
        assert not any(reader.at_eof() for reader, _ in streams[6:])
        for _, writer in streams:
            writer.close()


async def test_addresses_and_candidates() -> None:
    loop = asyncio.get_running_loop()
    mux = Mux(TransportConfig(addresses=("127.0.0.1", "::1"), announced=("203.0.113.5", "[2001:db8::1]:99")), loop)
    await mux.start()
    try:
        candidates = mux.candidates()
        assert [one.split()[4:6] for one in candidates] == [
            ["203.0.113.5", str(mux.port)],
            ["203.0.113.5", str(mux.port)],
            ["2001:db8::1", "99"],
            ["2001:db8::1", "99"],
        ]
        priorities = [int(one.split()[3]) for one in candidates]
        assert len(set(priorities)) == 4
        assert {endpoint.local[1] for endpoint in mux._udp} == {mux.port}
        taken = Mux(TransportConfig(addresses=("127.0.0.1",), port=mux.port), loop)
        with pytest.raises(OSError, match=r"."):
            await taken.start()
    finally:
        mux.close()


def test_this_machine_has_addresses() -> None:
    assert local_addresses()


async def test_the_loop_closes_clean() -> None:
    """Nothing is left of an engine: no reader, no socket."""
    before = set(os.listdir("/proc/self/fd"))
    async with house() as home:
        await home.bot()
    await asyncio.sleep(0.05)
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1


@pytest.mark.parametrize("control", [False, True])
async def test_who_sends_from_ever_new_sources_is_cut_off(control: bool) -> None:
    """libsrtp remembers every SSRC that was authentic, in RTP and in RTCP."""
    async with house() as home:
        ann, ben = await call(home)
        await ben.publish({"microphone": PacketTrack("audio")})
        publisher = home.participant(ann).publisher.transport
        dtls = ann.publishing.getSenders()[0].transport
        for number in range(MAX_SSRCS + 1):
            ssrc = (1_000_000 + number).to_bytes(4)
            # With its right mid, so that each is taken for the camera's stream begun anew.
            media = b"\x90\x60" + bytes(6) + ssrc + b"\xbe\xde\0\1\x400\0\0" + b"\x10\0"
            if publisher.is_closed:
                break
            await dtls._send_rtp(b"\x80\xc9\0\1" + ssrc if control else media)
            if number % 32 == 0:
                await asyncio.sleep(0)
        await until(lambda: publisher.is_closed, "the flooder is cut off")
        assert len(publisher._ssrcs) <= MAX_SSRCS + 1
        await goes_on(home, ann)  # what Ben says still comes
