"""The interface between signaling and an SFU: commands in, events out, all of them plain data.

``EmbeddedSfu`` is the one in this process. A worker in another process or an external engine does the same behind the
same interface, so signaling knows nothing of transports and packets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from msgspec import Struct

Source = Literal["camera", "microphone", "screen", "screen_audio"]


class SfuError(Exception):
    """A command could not be carried out; the text is for the client's developer. ``full`` tells of a limit."""

    def __init__(self, detail: str, *, full: bool = False) -> None:
        self.detail = detail
        self.full = full
        super().__init__(detail)


class TrackInfo(Struct, kw_only=True):
    """A track as others in the room see it."""

    id: str
    kind: Literal["audio", "video"]
    source: Source
    participant: str
    user_id: str
    layers: list[str] = []


class ParticipantInfo(Struct, kw_only=True):
    """Somebody in a room."""

    id: str
    user_id: str
    username: str


class Joined(Struct, kw_only=True):
    """What a new participant finds."""

    participants: list[ParticipantInfo]
    tracks: list[TrackInfo]


class Wish(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a subscriber wants of a track. ``max_layer`` is an index into the track's layers, the lowest being 0."""

    enabled: bool = True
    max_layer: int = 99
    pinned: bool = False


class Event(Struct, kw_only=True, tag=True):
    """Something that the participants ``to`` of a room are to be told."""

    room: str
    to: list[str]


class Offer(Event, kw_only=True):
    """A subscriber is to answer this. ``tracks`` are the ids by mid."""

    sdp: str
    number: int
    tracks: dict[str, str]


class TrackAdded(Event, kw_only=True):
    """Somebody publishes a track."""

    track: TrackInfo


class TrackRemoved(Event, kw_only=True):
    """A track is gone."""

    track: TrackInfo


class ParticipantLeft(Event, kw_only=True):
    """Somebody left. Those who are told include them, if it was not their wish."""

    participant: ParticipantInfo
    reason: str


class SpeakersChanged(Event, kw_only=True):
    """Who has the floor, and who speaks, the loudest first: (participant, loudness 0 to 127)."""

    dominant: str | None
    speakers: list[tuple[str, int]]


class LayersWanted(Event, kw_only=True):
    """A publisher's layers that somebody watches, by rid; the others need not be sent."""

    track: str
    layers: dict[str, bool]


class TransportLost(Event, kw_only=True):
    """A participant's transport is dead: the client must make a new one to publish or to receive again. ``seat``: both
    are, and the server knows them no more, as when a worker died; the client joins anew.
    """

    peer: Literal["publish", "subscribe", "seat"]
    reason: str


Listener = Callable[[Event], None]


class SfuBackend(Protocol):
    """An SFU. Who calls names the participants, uniquely in a room. Every method may raise ``SfuError``."""

    async def join(self, room: str, participant: ParticipantInfo) -> Joined:
        """Lets somebody into a room, which is made when it is not there."""

    async def resume(self, room: str, participant: str) -> Joined:
        """What somebody finds who comes back to their seat."""

    async def publish(self, room: str, participant: str, sdp: str, sources: dict[str, Source]) -> str:
        """Answers an offer with what the participant publishes; ``sources`` by mid."""

    async def ready(self, room: str, participant: str) -> None:
        """The participant has a new peer connection to be offered what there is."""

    async def answer(self, room: str, participant: str, sdp: str, number: int) -> None:
        """Takes the answer to an offer."""

    async def subscribe(self, room: str, participant: str, wishes: dict[str, Wish]) -> None:
        """Takes wishes about tracks, by id; those not named stay as they were."""

    async def restart(self, room: str, participant: str) -> None:
        """Offers new ICE credentials for what is received, or everything anew if that transport was lost."""

    async def leave(self, room: str, participant: str, reason: str = "left") -> None:
        """Lets somebody out. No error if they were not in."""

    async def statistics(self, room: str) -> dict[str, Any]:
        """Numbers of a room, per participant, transport and track."""
