"""``SfuBackend`` by Janus' VideoRoom. Every node has a session of its own there; the rooms are the same for all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from django.utils.crypto import salted_hmac

from mana.conf import settings
from mana.realtime import tasks
from mana_rtc.janus.connection import Connection, JanusError
from mana_rtc.janus.member import Member, number_of
from mana_rtc.sfu.backend import Event, Joined, Listener, ParticipantInfo, SfuError, Source, TransportLost, Wish

logger = logging.getLogger("mana.rtc.janus")

#: Codes of the plugin: a room of that number is not there, is there already.
NO_SUCH_ROOM = 426
ROOM_EXISTS = 427
#: Frames of 20 ms with voice, and their mean level in -dBov, from which somebody talks.
TALKING_PACKETS = 10
TALKING_LEVEL = 55
#: Seconds before each look whether a room is empty: for a moment after they have left, Janus still lists people.
LOOKS = (0.0, 0.2, 1.0)


class JanusSfu:
    """Implements ``SfuBackend`` in the event loop of a node. ``listener`` is called in that loop."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()
        self._members: dict[tuple[str, str], Member] = {}
        self._removing: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references

    async def aclose(self) -> None:
        """Ends the session; Janus lets this node's people out."""
        self._members.clear()
        await tasks.end(tuple(self._removing))
        if self._connection is not None:
            await self._connection.close()

    async def join(self, room: str, participant: ParticipantInfo) -> Joined:
        """See ``SfuBackend``."""
        connection = await self._connected()
        member = Member(connection, room, self._pin(room), participant, self._told)
        for is_last in (False, True):
            try:
                joined = await member.join()
                break
            except JanusError as error:
                await member.leave()
                if error.code != NO_SUCH_ROOM or is_last:
                    raise
                await self._create(connection, room)
            except BaseException:
                await member.leave()
                raise
        self._members[room, participant.id] = member
        return joined

    async def resume(self, room: str, participant: str) -> Joined:
        """See ``SfuBackend``. Only at the node where they joined: the session with Janus is that node's."""
        return self._member(room, participant).seen()

    async def publish(self, room: str, participant: str, sdp: str, sources: dict[str, Source]) -> str:
        """See ``SfuBackend``."""
        return await self._member(room, participant).publish(sdp, sources)

    async def ready(self, room: str, participant: str) -> None:
        """See ``SfuBackend``."""
        await self._member(room, participant).ready()

    async def answer(self, room: str, participant: str, sdp: str, number: int) -> None:
        """See ``SfuBackend``."""
        await self._member(room, participant).answer(sdp, number)

    async def trickle(self, room: str, participant: str, candidate: Any) -> None:
        """Takes a candidate of the connection that publishes; where Janus is no ICE-lite agent it wants them."""
        await self._member(room, participant).trickle(candidate)

    async def subscribe(self, room: str, participant: str, wishes: dict[str, Wish]) -> None:
        """See ``SfuBackend``."""
        await self._member(room, participant).subscribe(wishes)

    async def restart(self, room: str, participant: str) -> None:
        """See ``SfuBackend``."""
        await self._member(room, participant).restart()

    async def leave(self, room: str, participant: str, reason: str = "left") -> None:
        """See ``SfuBackend``."""
        member = self._members.pop((room, participant), None)
        if member is None:
            return
        await member.leave()
        if self._connection is not None and not any(key[0] == room for key in self._members):
            removing = asyncio.create_task(self._destroy_if_empty(self._connection, room))
            self._removing.add(removing)
            removing.add_done_callback(self._removing.discard)

    async def statistics(self, room: str) -> dict[str, Any]:
        """See ``SfuBackend``. Of this node's people; Janus' admin interface knows more."""
        return {"participants": {one.info.id: {"user_id": one.info.user_id} for one in self._of(room)}}

    # -- Inside -------------------------------------------------------------------------------------------------------

    def _member(self, room: str, participant: str) -> Member:
        member = self._members.get((room, participant))
        if member is None:
            raise SfuError("You are not in this call.")
        return member

    def _of(self, room: str) -> list[Member]:
        return [member for (name, _), member in self._members.items() if name == room]

    async def _connected(self) -> Connection:
        async with self._opening:
            if self._connection is None or not self._connection.is_open:
                connection = Connection(
                    settings.JANUS_URL, api_secret=settings.JANUS_API_SECRET, on_lost=self._lost_everybody
                )
                try:
                    await connection.open()
                except BaseException:
                    await connection.close()
                    raise
                self._connection = connection
            return self._connection

    def _lost_everybody(self) -> None:
        lost, self._members = self._members, {}
        for (room, participant), member in lost.items():
            self._let_go(member)
            self._listener(TransportLost(room=room, to=[participant], peer="seat", reason="moved"))

    def _told(self, event: Event) -> None:
        if isinstance(event, TransportLost) and event.peer == "seat":
            for participant in event.to:
                member = self._members.pop((event.room, participant), None)
                if member is not None:
                    self._let_go(member)
        self._listener(event)

    def _let_go(self, member: Member) -> None:
        """Ends what a member leaves behind, also on a connection that is gone."""
        task = asyncio.create_task(member.leave())
        self._removing.add(task)
        task.add_done_callback(self._removing.discard)

    @staticmethod
    def _pin(room: str) -> str:
        """What nobody but the nodes knows: who reaches Janus past them still gets into no room."""
        return salted_hmac("mana_rtc.janus.pin", room, algorithm="sha256").hexdigest()[:32]

    async def _create(self, connection: Connection, room: str) -> None:
        handle = await connection.attach(lambda data, jsep: None)
        body: dict[str, Any] = {
            "room": number_of(room),
            "description": "mana",
            "is_private": True,
            "pin": self._pin(room),
            "secret": self._secret(room),
            "publishers": settings.RTC_MAX_PARTICIPANTS,
            "bitrate": settings.RTC_MAX_BITRATE,
            "videocodec": ",".join(codec.lower() for codec in settings.RTC_VIDEO_CODECS),
            "audiocodec": "opus",
            "notify_joining": True,
            "audiolevel_ext": True,
            "audiolevel_event": True,
            "audio_active_packets": TALKING_PACKETS,
            "audio_level_average": TALKING_LEVEL,
        }
        if settings.JANUS_ADMIN_KEY:
            body["admin_key"] = settings.JANUS_ADMIN_KEY
        try:
            await handle.request(request="create", **body)
        except JanusError as error:
            if error.code != ROOM_EXISTS:  # another node was quicker
                raise
        finally:
            await handle.detach()

    async def _destroy_if_empty(self, connection: Connection, room: str) -> None:
        """Removes a room in which nobody is, so that Janus does not keep it for ever."""
        with contextlib.suppress(SfuError):
            handle = await connection.attach(lambda data, jsep: None)
            try:
                number = number_of(room)
                for pause in LOOKS:
                    await asyncio.sleep(pause)
                    if self._of(room):
                        return
                    data, _ = await handle.request(request="listparticipants", room=number)
                    if not data.get("participants"):
                        await handle.request(request="destroy", room=number, secret=self._secret(room), permanent=False)
                        return
            finally:
                await handle.detach()

    @staticmethod
    def _secret(room: str) -> str:
        return salted_hmac("mana_rtc.janus.secret", room, algorithm="sha256").hexdigest()[:32]
