"""Events of the SFU as frames of the protocol."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from msgspec import to_builtins

from mana.protocol import ServerFrame
from mana.protocol.server import ActiveSpeaker, ReadyEvent, SfuOfferEvent, SubscribeEvent
from mana.protocol.server import TrackAdded as TrackAddedFrame
from mana.protocol.server import TrackRemoved as TrackRemovedFrame
from mana_rtc.sfu.backend import (
    Event,
    LayersWanted,
    Offer,
    ParticipantLeft,
    SpeakersChanged,
    TrackAdded,
    TrackRemoved,
    TransportLost,
)


@singledispatch
def frame_of(event: Event) -> ServerFrame:
    """The frame that tells clients of an event."""
    raise TypeError(f"no frame tells of {type(event).__name__}")


@frame_of.register
def _(event: Offer) -> ServerFrame:
    return SfuOfferEvent(room_id=event.room, sdp=event.sdp, payload={"number": event.number, "tracks": event.tracks})


@frame_of.register
def _(event: TrackAdded) -> ServerFrame:
    return TrackAddedFrame(room_id=event.room, from_=event.track.user_id, payload=plain(event.track))


@frame_of.register
def _(event: TrackRemoved) -> ServerFrame:
    return TrackRemovedFrame(room_id=event.room, from_=event.track.user_id, payload=plain(event.track))


@frame_of.register
def _(event: SpeakersChanged) -> ServerFrame:
    speakers = [{"participant": name, "loudness": loudness} for name, loudness in event.speakers]
    return ActiveSpeaker(room_id=event.room, payload={"dominant": event.dominant, "speakers": speakers})


@frame_of.register
def _(event: LayersWanted) -> ServerFrame:
    return SubscribeEvent(room_id=event.room, payload={"track": event.track, "layers": event.layers})


@frame_of.register
def _(event: ParticipantLeft) -> ServerFrame:
    left = event.participant
    return ReadyEvent(
        room_id=event.room,
        from_=left.user_id,
        username=left.username,
        payload={"left": left.id, "reason": event.reason},
    )


@frame_of.register
def _(event: TransportLost) -> ServerFrame:
    return ReadyEvent(room_id=event.room, payload={"lost": event.peer, "reason": event.reason})


def plain(value: Any) -> Any:
    """A struct as JSON values."""
    return to_builtins(value)
