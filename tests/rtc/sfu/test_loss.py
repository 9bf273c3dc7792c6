"""Five of a hundred packets lost in each direction: what is missing is asked for and comes. Each one is counted."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from mana_rtc.media import rtcp
from mana_rtc.media.receive import MissingPackets, ReceiveWindow
from mana_rtc.media.rtp import RtpPacket, is_rtcp
from mana_rtc.transport.peer import PeerTransport
from mana_rtc.transport.udp import UdpPath
from tests.rtc.bots import PacketTrack, house, until

LOSS = 0.05


class Loss:
    """Loses media at random between a peer and its socket."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.chance = Random(5)
        self.share = 0.0
        self.up = self.down = 0
        send, receive = UdpPath.send, PeerTransport.receive

        def lossy_send(path: UdpPath, data: bytes) -> None:
            if 127 < data[0] < 192 and not is_rtcp(data) and self.chance.random() < self.share:
                self.down += 1
            else:
                send(path, data)

        def lossy_receive(peer: PeerTransport, path: Any, data: bytes, now: float) -> None:
            if 127 < data[0] < 192 and not is_rtcp(data) and self.chance.random() < self.share:
                self.up += 1
            else:
                receive(peer, path, data, now)

        patch.setattr(UdpPath, "send", lossy_send)
        patch.setattr(PeerTransport, "receive", lossy_receive)


class Counting:
    """Takes a receiver's packets in aiortc's place, asks for what is missing as Chromium does, and counts."""

    def __init__(self, receiver: Any) -> None:
        self.window = ReceiveWindow()
        self.missing = MissingPackets()
        self.media = self.repaired = 0
        self.first = -1
        self._ssrc = 0
        self._transport = receiver.transport
        receiver._handle_rtp_packet = self.received

    async def received(self, packet: Any, arrival_time_ms: int) -> None:
        payload, sequence = packet.payload, packet.sequence_number
        is_rtx = packet.payload_type == 97
        if is_rtx:
            sequence, payload = int.from_bytes(payload[:2]), payload[2:]
        else:
            self._ssrc = packet.ssrc
        now = asyncio.get_running_loop().time()
        highest = self.window.highest
        one = RtpPacket(96, sequence, 0, 1, payload)
        if self.window.add(one):
            self.first = one.extended if self.first < 0 else self.first
            self.missing.received(one.extended, highest, now)
            self.repaired += is_rtx
            self.media += 1

    async def ask(self) -> None:
        """Sends NACKs every 20 ms."""
        while True:
            await asyncio.sleep(0.02)
            due = self.missing.due(asyncio.get_running_loop().time(), 0.02)
            if due:
                await self._transport._send_rtp(rtcp.nack(1, self._ssrc, due))

    @property
    def expected(self) -> int:
        return self.window.highest - self.first + 1


async def test_what_is_lost_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 99 % of what was lost, each way."""
    loss = Loss(monkeypatch)
    async with house() as home:
        ann = await home.bot()
        counts: list[Counting] = []
        ben = await home.bot(
            on_track=lambda track, _: counts.append(
                Counting(next(one for one in ben.receiving.getReceivers() if one.track is track))
            )
        )
        # Three packets a frame.
        await ann.publish({"camera": PacketTrack("video", per_second=100, size=3000)})
        await until(lambda: counts and counts[0].media > 20, "packets flow")
        (count,) = counts
        asking = asyncio.create_task(count.ask())
        layer = next(iter(home.participant(ann).publisher.tracks.values())).up.layers[0]
        loss.share = LOSS
        start = count.media
        enough = 100
        await until(
            lambda: count.media > start + 2500 and min(loss.up, loss.down) > enough, "much comes, and much is lost", 60
        )
        loss.share = 0.0
        await asyncio.sleep(0.5)
        asking.cancel()
        lost_up = layer.statistics.lost(layer.window.highest) - len(layer.missing)
        lost_down = count.expected - count.media - len(count.missing)
        assert layer.statistics.recovered > 50
        assert count.repaired > 50
        assert lost_up <= 0.01 * loss.up
        assert lost_down <= 0.01 * loss.down
