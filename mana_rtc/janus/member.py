"""A participant of a VideoRoom: a handle that publishes and hears of the others, and one that receives them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Callable
from typing import Any, cast, get_args

from mana.realtime import tasks
from mana_rtc.janus.connection import Connection, Handle, JanusError
from mana_rtc.sfu.backend import (
    Event,
    Joined,
    Offer,
    ParticipantInfo,
    ParticipantLeft,
    SfuError,
    Source,
    SpeakersChanged,
    TrackAdded,
    TrackInfo,
    TrackRemoved,
    TransportLost,
    Wish,
)

logger = logging.getLogger("mana.rtc.janus")

#: Layers of a camera in simulcast: Janus tells that there are some, not how many.
LAYERS = ["q", "h", "f"]
#: Seconds that Janus has to end a peer connection.
HANGUP_TIMEOUT = 2.0
#: Seconds between offers while Janus still has the agent of the connection before, and what it then answers
#: (JANUS_ERROR_UNKNOWN, before its plugin has seen the offer).
PAUSE = 0.05
NO_AGENT = 490
#: Who is heard but not measured.
LOUDNESS = 64
_FINGERPRINT = re.compile(r"^a=fingerprint:(.+?)\s*$", re.MULTILINE)


def number_of(text: str) -> int:
    """A number for a name, of the 53 bits that Janus' JSON keeps exactly."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11 or 1


class Member:
    """``emit`` is called with what the participant is to be told."""

    def __init__(
        self, connection: Connection, room: str, pin: str, info: ParticipantInfo, emit: Callable[[Event], None]
    ) -> None:
        self.room = room
        self.info = info
        self._connection = connection
        self._pin = pin
        self._emit = emit
        self._publishing: Handle | None = None
        self._receiving: Handle | None = None
        self._received_before: Handle | None = None  # hung up, and not given back yet
        self._fingerprint = ""
        self._hung_up = asyncio.Event()
        self._others: dict[int, ParticipantInfo] = {}
        self._tracks: dict[tuple[int, str], TrackInfo] = {}
        self._wishes: dict[str, Wish] = {}
        self._mids: dict[str, str] = {}
        self._is_ready = False
        self._offers = 0
        self._subscribed: set[tuple[int, str]] = set()
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._speaking: list[str] = []
        self._dominant: str | None = None

    # -- Coming and going ---------------------------------------------------------------------------------------------

    async def join(self) -> Joined:
        """Enters the room, which is there."""
        self._publishing = await self._connection.attach(self._heard)
        display = json.dumps({"id": self.info.id, "user_id": self.info.user_id, "username": self.info.username})
        data, _ = await self._publishing.request(
            request="join",
            ptype="publisher",
            room=number_of(self.room),
            id=number_of(self.info.id),
            display=display,
            pin=self._pin,
        )
        for one in [*data.get("attendees", []), *data.get("publishers", [])]:
            self._meet(one)
        for one in data.get("publishers", []):
            self._compare(one, tell=False)
        return self.seen()

    def seen(self) -> Joined:
        """Everybody else and what they publish."""
        return Joined(participants=list(self._others.values()), tracks=list(self._tracks.values()))

    async def leave(self) -> None:
        """Leaves the room, with both connections."""
        await tasks.end([self._following])
        for handle in (self._received_before, self._receiving, self._publishing):
            if handle is not None:
                await handle.detach()

    # -- Publishing ---------------------------------------------------------------------------------------------------

    async def publish(self, sdp: str, sources: dict[str, Source]) -> str:
        """Answers an offer."""
        handle = self._handle()
        fingerprint = "".join(_FINGERPRINT.findall(sdp)[:1])
        if self._fingerprint and fingerprint != self._fingerprint:
            # Of another peer connection: Janus must have done with the one before.
            self._fingerprint = ""
            self._hung_up.clear()
            await handle.request(request="unpublish")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HANGUP_TIMEOUT):
                    await self._hung_up.wait()
        described = [{"mid": mid, "description": source} for mid, source in sources.items()]
        answer = await self._answered(
            handle,
            # Clients name the layers of a camera from the lowest up; Janus takes the first for the highest otherwise.
            jsep={"type": "offer", "sdp": sdp, "rid_order": "lmh"},
            request="configure" if self._fingerprint else "publish",
            descriptions=described,
        )
        if not isinstance(answer, dict):
            raise SfuError("Janus answers without a description.")
        self._fingerprint = fingerprint
        return str(answer["sdp"])

    async def _answered(self, handle: Handle, **request: Any) -> Any:
        """The ``jsep`` in answer to an offer, once Janus has let go of the ICE agent of the connection before, which it
        does a moment after it says so."""
        clock = asyncio.get_running_loop().time
        until = clock() + HANGUP_TIMEOUT
        while True:
            try:
                return (await handle.request(**request))[1]
            except JanusError as error:
                if error.code != NO_AGENT or clock() > until:
                    raise
            await asyncio.sleep(PAUSE)

    async def trickle(self, candidate: Any) -> None:
        """A candidate of the publishing connection."""
        await self._handle().trickle(candidate)

    def _handle(self) -> Handle:
        if self._publishing is None:
            raise SfuError("You are not in this call.")
        return self._publishing

    # -- Receiving ----------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """There is a new peer connection to be offered everything."""
        before = (self._received_before, self._receiving)
        self._received_before = self._receiving = None
        for handle in before:
            if handle is not None:
                await handle.detach()
        self._subscribed.clear()
        self._mids.clear()
        self._is_ready = True
        self._changed.set()
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._follow(), name="mana-janus-member")

    async def answer(self, sdp: str, number: int) -> None:
        """Takes the answer to the newest offer."""
        if self._receiving is None:
            raise SfuError("There is no offer to answer.")
        if number != self._offers:
            return  # a newer one is on its way
        await self._receiving.request(jsep={"type": "answer", "sdp": sdp}, request="start")
        await self._configure(self._wishes)

    async def subscribe(self, wishes: dict[str, Wish]) -> None:
        """Takes wishes about tracks."""
        known = {track.id for track in self._tracks.values()}
        self._wishes = {track: wish for track, wish in {**self._wishes, **wishes}.items() if track in known}
        await self._configure(wishes)

    async def _configure(self, wishes: dict[str, Wish]) -> None:
        streams = []
        simulcast = {track.id for track in self._tracks.values() if track.layers}
        for track, wish in wishes.items():
            if track in self._mids:
                stream: dict[str, Any] = {"mid": self._mids[track], "send": wish.enabled}
                if track in simulcast:
                    stream["substream"] = max(0, min(wish.max_layer, len(LAYERS) - 1))
                streams.append(stream)
        if streams and self._receiving is not None:
            await self._receiving.request(request="configure", streams=streams)

    async def restart(self) -> None:
        """Offers new ICE credentials, or everything anew to somebody whose transport was lost."""
        if self._receiving is None:
            await self.ready()
            return
        data, jsep = await self._receiving.request(request="configure", restart=True)
        self._offer(data, jsep)

    async def _follow(self) -> None:
        """Subscribes to what others publish, in one request for what has changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = set(self._tracks) - self._subscribed
            if not wanted:
                continue
            streams = [{"feed": feed, "mid": mid} for feed, mid in sorted(wanted)]
            try:
                await self._subscribe(streams)
            except SfuError as error:  # one of them may have left meanwhile
                logger.info("A subscription was refused, another try follows: %s", error)
                await asyncio.sleep(0.3)
                self._changed.set()
            else:
                self._subscribed |= wanted

    async def _subscribe(self, streams: list[dict[str, Any]]) -> None:
        if self._receiving is not None:
            data, jsep = await self._receiving.request(request="subscribe", streams=streams)
            self._offer(data, jsep)
            return
        handle = await self._connection.attach(self._received)
        try:
            data, jsep = await handle.request(
                request="join", ptype="subscriber", room=number_of(self.room), pin=self._pin, streams=streams
            )
        except SfuError:
            await handle.detach()
            raise
        self._receiving = handle
        self._offer(data, jsep)

    def _received(self, data: dict[str, Any], jsep: dict[str, Any] | None) -> None:
        if "hangup" in data:
            self._received_before, self._receiving = self._receiving, None
            self._subscribed.clear()
            self._lost("subscribe", data["hangup"])
        else:
            self._offer(data, jsep)

    def _offer(self, data: dict[str, Any], jsep: Any) -> None:
        if not isinstance(jsep, dict) or jsep.get("type") != "offer":
            return
        self._mids = {}
        for stream in data.get("streams", []):
            track = self._tracks.get((int(stream.get("feed_id", 0)), str(stream.get("feed_mid"))))
            if track is not None and stream.get("active", True):
                self._mids[track.id] = str(stream["mid"])
        self._offers += 1
        tracks = {mid: track for track, mid in self._mids.items()}
        self._tell(Offer(room=self.room, to=[], sdp=str(jsep["sdp"]), number=self._offers, tracks=tracks))

    # -- The others ---------------------------------------------------------------------------------------------------

    def _heard(self, data: dict[str, Any], jsep: dict[str, Any] | None) -> None:
        """An event of the handle that publishes."""
        if "hangup" in data:
            self._hung_up.set()
            if self._fingerprint:
                self._fingerprint = ""
                self._lost("publish", data["hangup"])
            return
        kind = data.get("videoroom")
        if kind in ("talking", "stopped-talking"):
            self._talks(int(data["id"]), talking=kind == "talking")
            return
        if "joining" in data:
            self._meet(data["joining"])
        for one in data.get("publishers", []):
            self._meet(one)
            self._compare(one, tell=True)
        if isinstance(data.get("unpublished"), int):
            self._compare({"id": data["unpublished"], "streams": []}, tell=True)
        gone = data.get("leaving", data.get("kicked"))
        if isinstance(gone, int):
            self._part(gone)
        if kind == "destroyed" or (data.get("leaving") == "ok"):
            self._lost("seat", str(data.get("reason", kind)))

    def _meet(self, one: dict[str, Any]) -> None:
        try:
            told = json.loads(one["display"])
            info = ParticipantInfo(id=told["id"], user_id=told["user_id"], username=told["username"])
        except (KeyError, TypeError, ValueError):
            return  # none of ours
        if number_of(info.id) == one.get("id"):
            self._others[int(one["id"])] = info

    def _part(self, feed: int) -> None:
        self._compare({"id": feed, "streams": []}, tell=True)
        info = self._others.pop(feed, None)
        if info is not None:
            self._talks(feed, talking=False, name=info.id)
            self._tell(ParticipantLeft(room=self.room, to=[], participant=info, reason="left"))

    def _compare(self, one: dict[str, Any], *, tell: bool) -> None:
        """Takes note of all that somebody publishes now."""
        feed = int(one["id"])
        info = self._others.get(feed)
        if info is None:
            return
        found = {
            (feed, str(stream["mid"])): stream
            for stream in one.get("streams", [])
            if stream.get("type") in ("audio", "video") and not stream.get("disabled")
        }
        for key in [key for key in self._tracks if key[0] == feed and key not in found]:
            track = self._tracks.pop(key)
            self._subscribed.discard(key)
            if tell:
                self._tell(TrackRemoved(room=self.room, to=[], track=track))
        for key, stream in found.items():
            if key in self._tracks:
                continue
            kind = stream["type"]
            source = stream.get("description")
            if source not in get_args(Source):
                source = "microphone" if kind == "audio" else "camera"
            self._tracks[key] = TrackInfo(
                id=f"{info.id}-{key[1]}-{self._offers}",
                kind=kind,
                source=cast("Source", source),
                participant=info.id,
                user_id=info.user_id,
                layers=list(LAYERS) if stream.get("simulcast") else [],
            )
            if tell:
                self._tell(TrackAdded(room=self.room, to=[], track=self._tracks[key]))
        if self._is_ready:
            self._changed.set()

    def _talks(self, feed: int, *, talking: bool, name: str = "") -> None:
        if not name:
            info = self._others.get(feed)
            name = info.id if info is not None else self.info.id if feed == number_of(self.info.id) else ""
        before = (list(self._speaking), self._dominant)
        self._speaking = [one for one in self._speaking if one != name]
        if talking and name:
            self._speaking.insert(0, name)
        if self._speaking and self._dominant not in self._speaking:
            self._dominant = self._speaking[0]
        elif not talking and self._dominant == name and name not in {one.id for one in self._others.values()}:
            self._dominant = None
        if (self._speaking, self._dominant) != before:
            speakers = [(one, LOUDNESS) for one in self._speaking]
            self._tell(SpeakersChanged(room=self.room, to=[], dominant=self._dominant, speakers=speakers))

    def _lost(self, peer: Any, reason: str) -> None:
        self._tell(TransportLost(room=self.room, to=[], peer=peer, reason=reason))

    def _tell(self, event: Event) -> None:
        event.to = [self.info.id]
        self._emit(event)
