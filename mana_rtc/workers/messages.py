"""What nodes and workers say to each other: structs, as MessagePack in one field of a channel layer's message."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mana_rtc.sfu.backend import (
    LayersWanted,
    Offer,
    ParticipantInfo,
    ParticipantLeft,
    Source,
    SpeakersChanged,
    TrackAdded,
    TrackRemoved,
    TransportLost,
    Wish,
)

MESSAGE_TYPE = "mana.sfu"

Text = Annotated[str, Meta(max_length=256)]
Number = Annotated[int, Meta(ge=0)]
Verb = Literal["join", "resume", "publish", "ready", "answer", "subscribe", "restart", "leave", "statistics"]
SfuEvent = (
    Offer
    | TrackAdded
    | TrackRemoved
    | ParticipantLeft
    | SpeakersChanged
    | LayersWanted
    | TransportLost  # a tagged union
)


class Sender(Struct, kw_only=True):
    """A node: where it is answered, and the stream of events that it follows. A new stream begins at 1."""

    node: Text
    channel: Text
    stream: Text


class Command(Struct, kw_only=True, tag=True):
    """A node wants something of a worker. The same ``id`` again is the same command, and answered as it was."""

    id: Text
    sender: Sender
    verb: Verb
    room: Text
    #: The primary key of the placement that the node knows of.
    placement: Number
    participant: Text = ""
    info: ParticipantInfo | None = None
    sdp: str = ""
    sources: dict[str, Source] = {}
    number: Number = 0
    wishes: dict[str, Wish] = {}
    reason: Text = "left"


class Sync(Struct, kw_only=True, tag=True):
    """A node lives, has seen all events up to ``seen``, and takes these to be its participants, by room."""

    sender: Sender
    serial: Number
    seen: Number
    rooms: dict[Text, list[Text]]


class Answer(Struct, kw_only=True, tag=True):
    """To a command. ``moved``: the room is not there any more."""

    worker: Text
    id: Text
    result: Any = None
    error: str | None = None
    full: bool = False
    moved: bool = False


class Batch(Struct, kw_only=True, tag=True):
    """Events for the participants of a node."""

    worker: Text
    stream: Text
    number: Number
    events: list[SfuEvent]


class Synced(Struct, kw_only=True, tag=True):
    """To a ``Sync``: who is missing, and the batches that the worker still has."""

    worker: Text
    stream: Text
    serial: Number
    missing: list[tuple[Text, Text]]
    oldest: Number
    newest: Number


ToWorker = Command | Sync
ToNode = Answer | Batch | Synced

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToWorker)
_to_node: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToNode)


def encode(message: ToWorker | ToNode) -> bytes:
    """A message's bytes."""
    return _encoder.encode(message)


def decode_for_worker(data: bytes) -> ToWorker:
    """A node's message. Raises ``msgspec.DecodeError``."""
    message: ToWorker = _to_worker.decode(data)
    return message


def decode_for_node(data: bytes) -> ToNode:
    """A worker's message. Raises ``msgspec.DecodeError``."""
    message: ToNode = _to_node.decode(data)
    return message
