"""Frames that a client sends. One Struct per ``type``; unknown fields are ignored.

The field names are those of PROTOCOL.md, so ``to`` is a user (or, where said, a session) and ``payload`` any JSON
value, kept as the exact bytes that arrived (``msgspec.Raw``) where it is stored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from mana.protocol.types import (
    AckId,
    CallId,
    Ciphertext,
    DeviceId,
    Emoji,
    Index,
    Limit,
    MessageId,
    Name,
    RoomId,
    Sdp,
    Sequence,
    Token,
    UserId,
)


class ClientFrame(Struct, kw_only=True, tag_field="type"):
    """What all frames of clients share: the ``ack_id`` that the answer will carry."""

    ack_id: AckId | None = None


class Ping(ClientFrame, kw_only=True, tag="ping"):
    """Asks for a ``pong``."""


class Authenticate(ClientFrame, kw_only=True, tag="auth"):
    """Proves who the client is, as the first frame, or renews the session before its token expires."""

    token: Token


class Join(ClientFrame, kw_only=True, tag="join"):
    """Becomes a member of a room. A room that does not exist is created, if the user may."""

    room_id: RoomId
    name: Name | None = None
    room_type: Literal["group", "channel"] | None = None


class Leave(ClientFrame, kw_only=True, tag="leave"):
    """Ends the membership of a room."""

    room_id: RoomId


class SendMessage(ClientFrame, kw_only=True, tag="message"):
    """Sends a message to a room, or ``to`` a user (their direct room, made when it is not there).

    ``mentions`` are members of the room, or ``@all``; ``attachments`` are ids of files that the user uploaded.
    """

    payload: Raw
    room_id: RoomId | None = None
    to: UserId | None = None
    reply_to: MessageId | None = None
    mentions: Annotated[list[UserId], Meta(max_length=100)] = []
    attachments: Annotated[list[MessageId], Meta(max_length=32)] = []


class EditMessage(ClientFrame, kw_only=True, tag="message_edit"):
    """Replaces the payload of a message. Without ``mentions`` it mentions whom it mentioned before."""

    message_id: MessageId
    payload: Raw
    mentions: Annotated[list[UserId], Meta(max_length=100)] | None = None


class DeleteMessage(ClientFrame, kw_only=True, tag="message_delete"):
    """Deletes a message for oneself or for everyone."""

    message_id: MessageId
    scope: Literal["me", "everyone"] = "everyone"


class React(ClientFrame, kw_only=True, tag="reaction"):
    """Adds a reaction to a message, or removes it."""

    message_id: MessageId
    emoji: Emoji
    remove: bool = False


class Typing(ClientFrame, kw_only=True, tag="typing"):
    """Tells that the user types; ``payload`` false tells that they stopped. Not stored."""

    room_id: RoomId | None = None
    to: UserId | None = None
    payload: Any = True


class Receipt(ClientFrame, kw_only=True, tag="receipt"):
    """Tells that everything in the room up to ``sequence`` was delivered or read."""

    room_id: RoomId
    sequence: Sequence
    status: Literal["delivered", "read"]


class SyncRequest(ClientFrame, kw_only=True, tag="sync_request"):
    """Asks for all events after ``cursor`` (absent: the device's stored one)."""

    cursor: Sequence | None = None
    limit: Limit | None = None


class HistoryRequest(ClientFrame, kw_only=True, tag="history"):
    """Asks for a page of a room's events before or after an index; without either, the newest."""

    room_id: RoomId
    before: Index | None = None
    after: Index | None = None
    limit: Limit | None = None


class CallStart(ClientFrame, kw_only=True, tag="call_start"):
    """Rings a user, or everybody in a room. Where a call goes on already, it joins that one.

    The ``ack`` has the ``call_id``: the one that the client chose, or one that the server makes.
    """

    room_id: RoomId | None = None
    to: UserId | None = None
    call_id: CallId | None = None
    payload: Any = None


class CallAccept(ClientFrame, kw_only=True, tag="call_accept"):
    """Answers a call, joins one that goes on, or comes back to it with the same device after a lost connection."""

    call_id: CallId
    room_id: RoomId | None = None
    payload: Any = None


class CallReject(ClientFrame, kw_only=True, tag="call_reject"):
    """Declines a call; with the payload ``{"reason": "busy"}`` because there is another one."""

    call_id: CallId
    room_id: RoomId | None = None
    payload: Any = None


class CallEnd(ClientFrame, kw_only=True, tag="call_end"):
    """Hangs up; a group's call goes on without the user.

    The payload ``{"everybody": true}`` ends a group's call for all, ``{"reason": "failed"}`` says that no media came
    through. ``to`` takes somebody else out of the call: for moderators.
    """

    call_id: CallId | None = None
    room_id: RoomId | None = None
    to: UserId | None = None
    payload: Any = None


class Signal(ClientFrame, kw_only=True):
    """What the frames of a peer-to-peer negotiation share: relayed to ``to``, a user or session."""

    room_id: RoomId | None = None
    to: UserId | None = None
    payload: Any = None


class Offer(Signal, kw_only=True, tag="offer"):
    """An SDP offer for a peer (RFC 8829)."""

    sdp: Sdp


class Answer(Signal, kw_only=True, tag="answer"):
    """An SDP answer for a peer."""

    sdp: Sdp


class Candidate(Signal, kw_only=True, tag="candidate"):
    """An ICE candidate for a peer (RFC 8838)."""

    candidate: Any


class CallKey(ClientFrame, kw_only=True, tag="call_key"):
    """Keys of end-to-end encrypted media, sealed for people in the same call; the server can't read them.

    Each gets what is under their user id as the ``payload`` of a ``call_key``.
    """

    room_id: RoomId
    call_id: CallId
    payloads: Annotated[dict[UserId, Any], Meta(min_length=1, max_length=256)]


class SfuOffer(Signal, kw_only=True, tag="sfu_offer"):
    """An SDP offer for the SFU."""

    sdp: Sdp


class SfuAnswer(Signal, kw_only=True, tag="sfu_answer"):
    """An SDP answer for the SFU."""

    sdp: Sdp


class SfuCandidate(Signal, kw_only=True, tag="sfu_candidate"):
    """An ICE candidate for the SFU."""

    candidate: Any


class Subscribe(Signal, kw_only=True, tag="subscribe"):
    """Chooses the tracks that the SFU sends."""


class Ready(Signal, kw_only=True, tag="ready"):
    """Tells that the client is ready for the SFU's offer."""


class IceServersRequest(ClientFrame, kw_only=True, tag="ice_servers"):
    """Asks for the STUN and TURN servers, with credentials for a while."""


class Mute(Signal, kw_only=True, tag="mute"):
    """Tells whether the microphone is muted; with ``to`` a moderator mutes somebody."""


class CameraToggle(Signal, kw_only=True, tag="camera_toggle"):
    """Tells whether the camera is on."""


class ScreenShareStart(Signal, kw_only=True, tag="screen_share_start"):
    """Tells that the user shares the screen."""


class ScreenShareStop(Signal, kw_only=True, tag="screen_share_stop"):
    """Tells that the user no longer shares the screen."""


class Pin(Signal, kw_only=True, tag="pin"):
    """Pins a participant."""


class IceRestart(Signal, kw_only=True, tag="ice_restart"):
    """Asks for new ICE credentials."""


class NetworkChange(Signal, kw_only=True, tag="network_change"):
    """Tells that the client's network changed."""


class KeyExchange(ClientFrame, kw_only=True, tag="key_exchange"):
    """Publishes this device's public keys: ``payload`` is what ``PUT e2ee/devices/{id}`` of the REST API takes."""

    payload: Any


class PrekeyRefill(ClientFrame, kw_only=True, tag="prekey_refill"):
    """Adds one-time prekeys: ``payload`` is ``{"one_time": [...]}``."""

    payload: Any


class GetPrekeyBundle(ClientFrame, kw_only=True, tag="get_prekey_bundle"):
    """Asks for a prekey bundle of each device of a user, or of one device. The same ``ack_id`` again, within a
    minute, gives the same answer."""

    to: UserId
    device_id: DeviceId | None = None


class EncryptedFanout(ClientFrame, kw_only=True, tag="encrypted_fanout"):
    """A message with one ciphertext per device, in base64.

    ``payloads`` is ``{user: {device: ciphertext}}``, or ``{device: ciphertext}`` where no two of the devices have the
    same id; or ``payload`` is one ciphertext for all devices (sender keys). ``epochs`` are those of the device lists
    that it was made for, of each user with devices. It needs all devices of everybody in the room but the sending one.

    With ``control`` it is no message of the room but something for the named devices alone, any number of them: the
    keys of senders, requests for a retry, what a new device needs of an old one. It arrives as ``encrypted``.
    """

    payloads: Annotated[dict[str, Any], Meta(max_length=1000)] = {}
    payload: Ciphertext | None = None
    epochs: Annotated[dict[str, int], Meta(max_length=1000)] = {}
    room_id: RoomId | None = None
    to: UserId | None = None
    attachments: Annotated[list[MessageId], Meta(max_length=32)] = []
    control: bool = False


class EncryptedAck(ClientFrame, kw_only=True, tag="encrypted_ack"):
    """Tells that this device has decrypted and kept what came with these ids: the server forgets the ciphertext."""

    message_ids: Annotated[list[MessageId], Meta(min_length=1, max_length=500)]


#: Every frame that a client may send; the decoder and the AsyncAPI document are made from it.
CLIENT_FRAMES: tuple[type[ClientFrame], ...] = (
    Answer,
    Authenticate,
    CallAccept,
    CallEnd,
    CallKey,
    CallReject,
    CallStart,
    CameraToggle,
    Candidate,
    DeleteMessage,
    EditMessage,
    EncryptedAck,
    EncryptedFanout,
    GetPrekeyBundle,
    HistoryRequest,
    IceRestart,
    IceServersRequest,
    Join,
    KeyExchange,
    Leave,
    Mute,
    NetworkChange,
    Offer,
    Pin,
    Ping,
    PrekeyRefill,
    React,
    Ready,
    Receipt,
    ScreenShareStart,
    ScreenShareStop,
    SendMessage,
    SfuAnswer,
    SfuCandidate,
    SfuOffer,
    Subscribe,
    SyncRequest,
    Typing,
)
