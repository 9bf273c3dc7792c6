"""A participant without a browser: aiortc's peer connections against any ``SfuBackend``.

For tests and for programs that join a call. It publishes what aiortc's tracks give, which may be packets that are
encoded already (``av.Packet``), and hands out the tracks that it receives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from mana_rtc.sfu.backend import Event, Offer, ParticipantInfo, SfuBackend, Source

logger = logging.getLogger("mana.rtc")


class Bot:
    """One participant. Feed it the backend's events with ``handle``; use it from one event loop.

    ``on_track`` is called with every track that begins to come, and the id that it has in the call.
    """

    def __init__(
        self,
        backend: SfuBackend,
        room: str,
        info: ParticipantInfo,
        *,
        on_track: Callable[[MediaStreamTrack, str], None] | None = None,
    ) -> None:
        self._backend = backend
        self.room = room
        self.info = info
        self._on_track = on_track
        # Without servers: aioice would ask a public one by default.
        self.publishing = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.receiving = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        #: Everything that was told, in order.
        self.events: list[Event] = []
        #: The tracks that come, by their id in the call.
        self.tracks: dict[str, MediaStreamTrack] = {}
        self._queue: asyncio.Queue[Offer] = asyncio.Queue()
        self._answering: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Joins the call and begins to receive."""
        await self._backend.join(self.room, self.info)
        self._answering = asyncio.get_running_loop().create_task(self._answer_offers())
        await self._backend.ready(self.room, self.info.id)

    async def publish(self, tracks: dict[Source, MediaStreamTrack]) -> None:
        """Publishes tracks, by where they come from."""
        senders = {source: self.publishing.addTrack(track) for source, track in tracks.items()}
        await self.publishing.setLocalDescription(await self.publishing.createOffer())
        sources: dict[str, Source] = {}
        for source, sender in senders.items():
            transceiver = next(one for one in self.publishing.getTransceivers() if one.sender is sender)
            sources[str(transceiver.mid)] = source
        await self._exchange(sources)

    async def open_channel(self, label: str) -> Any:
        """A data channel to everybody who has one of the same label (``aiortc.RTCDataChannel``)."""
        channel = self.publishing.createDataChannel(label)
        await self.publishing.setLocalDescription(await self.publishing.createOffer())
        await self._exchange({})
        return channel

    async def _exchange(self, sources: dict[str, Source]) -> None:
        answer = await self._backend.publish(self.room, self.info.id, self.publishing.localDescription.sdp, sources)
        await self.publishing.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def handle(self, event: Event) -> None:
        """Takes an event of the backend, in the bot's event loop."""
        if self.info.id in event.to:
            self.events.append(event)
            if isinstance(event, Offer):
                self._queue.put_nowait(event)

    async def _answer_offers(self) -> None:
        while True:
            offer = await self._queue.get()
            try:
                await self._answer(offer)
            except Exception:
                logger.exception("A bot could not answer an offer.")

    async def _answer(self, offer: Offer) -> None:
        peer = self.receiving
        await peer.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        for transceiver in peer.getTransceivers():
            track_id = offer.tracks.get(str(transceiver.mid))
            if track_id is not None and track_id not in self.tracks:
                self.tracks[track_id] = transceiver.receiver.track
                if self._on_track is not None:
                    self._on_track(transceiver.receiver.track, track_id)
        await self._backend.answer(self.room, self.info.id, peer.localDescription.sdp, offer.number)

    async def leave(self) -> None:
        """Leaves the call and closes everything."""
        if self._answering is not None:
            self._answering.cancel()
        closing: list[Awaitable[None]] = [self.publishing.close(), self.receiving.close()]
        await self._backend.leave(self.room, self.info.id)
        await asyncio.gather(*closing)
