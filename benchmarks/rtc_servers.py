"""The media servers that ``benchmarks.rtc`` measures, each in a process of its own: lines of JSON in, lines of JSON
out.

``ours`` and ``ours-libsrtp`` are the project's engine. ``relay`` is what one writes with aiortc: peer connections and a
``MediaRelay``, which decodes once and encodes for every subscriber. ``aiortc`` is no more than aiortc's transports, put
to a forwarder's use against its interface: packets go on as they come. It has no NACK, no reports, no layers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.rtp import RtpPacket

from mana_rtc.sfu.backend import Event, Offer, ParticipantInfo
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.engine import Engine
from mana_rtc.transport.config import TransportConfig

ROOM = "room"


def say(message: dict[str, Any]) -> None:
    """A line for the load."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Ours:
    """The project's engine."""

    def __init__(self, *, accelerated: bool) -> None:
        self.engine = Engine(
            SfuConfig(
                transport=TransportConfig(addresses=("127.0.0.1",), tcp=False, accelerated=accelerated),
                # The load gives no feedback: it is taken to have room for everything.
                start_bitrate=200e6,
                max_bitrate=200e6,
            ),
            self.told,
        )

    def told(self, event: Event) -> None:
        if isinstance(event, Offer):
            for one in event.to:
                say({"offer": event.sdp, "id": one, "number": event.number})

    async def start(self) -> None:
        await self.engine.start()

    async def join(self, name: str) -> None:
        await self.engine.join(ROOM, ParticipantInfo(id=name, user_id=name, username=name))

    async def publish(self, name: str, sdp: str) -> str:
        return await self.engine.publish(ROOM, name, sdp, {})

    async def ready(self, name: str) -> None:
        await self.engine.ready(ROOM, name)

    async def answer(self, name: str, sdp: str, number: int) -> None:
        await self.engine.answer(ROOM, name, sdp, number)

    async def forwards(self) -> int:
        """Packets sent to all subscribers."""
        return sum(peer.counters.packets_out for peer in self.engine.mux.peers)

    def dropped(self) -> int:
        return self.engine.mux.dropped


class Silence(MediaStreamTrack):
    """A track that never has anything, so that a sender is there to send by hand."""

    kind = "video"

    async def recv(self) -> Any:
        await asyncio.Event().wait()


class Relay:
    """Peer connections and a ``MediaRelay``, as aiortc's own examples have it."""

    def __init__(self) -> None:
        self.peers: dict[str, RTCPeerConnection] = {}
        self.relay = MediaRelay()
        self.tracks: dict[str, list[MediaStreamTrack]] = {}
        self.senders: list[RTCRtpSender] = []

    async def start(self) -> None:
        """Nothing to bind: every peer connection has ports of its own."""

    async def join(self, name: str) -> None:
        """Nothing to do."""

    async def publish(self, name: str, sdp: str) -> str:
        peer = self.peers[f"publish {name}"] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        tracks = self.tracks[name] = []
        peer.on("track", tracks.append)
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return str(peer.localDescription.sdp)

    async def ready(self, name: str) -> None:
        peer = self.peers[f"subscribe {name}"] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for publisher, tracks in self.tracks.items():
            if publisher != name:
                # Not buffered: whoever is too slow for a picture gets the next one, instead of ever later ones.
                self.senders += [peer.addTrack(self.relay.subscribe(track, buffered=False)) for track in tracks]
        await peer.setLocalDescription(await peer.createOffer())
        say({"offer": peer.localDescription.sdp, "id": name, "number": 1})

    async def answer(self, name: str, sdp: str, number: int) -> None:
        await self.peers[f"subscribe {name}"].setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def forwards(self) -> int:
        """Packets sent to all subscribers."""
        reports = [report for sender in self.senders for report in (await sender.getStats()).values()]
        return sum(report.packetsSent for report in reports if report.type == "outbound-rtp")

    def dropped(self) -> int:
        return 0


class Aiortc:
    """aiortc's transports, with a loop over the subscribers where the decoder would be."""

    def __init__(self) -> None:
        self.peers: dict[str, RTCPeerConnection] = {}
        self.senders: dict[str, list[tuple[str, Any]]] = {}
        self.sent = 0
        self.published: list[str] = []

    async def start(self) -> None:
        """Nothing to bind: every peer connection has ports of its own."""

    async def join(self, name: str) -> None:
        """Nothing to do."""

    async def publish(self, name: str, sdp: str) -> str:
        peer = self.peers[f"publish {name}"] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        self.senders[name] = []
        self.published.append(name)

        async def forward(packet: RtpPacket, arrival_time_ms: int) -> None:
            for _, sender in self.senders[name]:
                packet.ssrc = sender._ssrc
                try:
                    await sender.transport._send_rtp(packet.serialize(sender.transport._rtp_header_extensions_map))
                except ConnectionError:
                    continue
                self.sent += 1

        for receiver in peer.getReceivers():
            receiver._handle_rtp_packet = forward
        return str(peer.localDescription.sdp)

    async def ready(self, name: str) -> None:
        peer = self.peers[f"subscribe {name}"] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for publisher in self.published:
            if publisher != name:
                self.senders[publisher].append((name, peer.addTrack(Silence())))
        await peer.setLocalDescription(await peer.createOffer())
        say({"offer": peer.localDescription.sdp, "id": name, "number": 1})

    async def answer(self, name: str, sdp: str, number: int) -> None:
        await self.peers[f"subscribe {name}"].setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def forwards(self) -> int:
        return self.sent

    def dropped(self) -> int:
        return 0


async def serve(kind: str) -> None:
    """Does what the lines say."""
    kinds = {"relay": Relay, "aiortc": Aiortc}
    server: Any = kinds[kind]() if kind in kinds else Ours(accelerated=kind == "ours")
    await server.start()
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=2**22)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say({"ready": True})
    while line := await lines.readline():
        order = json.loads(line)
        do, name = order["do"], order.get("id", "")
        if do == "usage":
            say({"cpu": time.process_time(), "forwards": await server.forwards(), "dropped": server.dropped()})
        elif do == "publish":
            say({"answer": await server.publish(name, order["sdp"]), "id": name})
        elif do == "answer":
            await server.answer(name, order["sdp"], order["number"])
        else:
            await getattr(server, do)(name)


if __name__ == "__main__":
    # The baseline's loop is uvloop's as well: what is compared is what runs in it.
    uvloop.run(serve(sys.argv[1]))
