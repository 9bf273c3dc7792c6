"""Frames that the server sends. Fields that are absent have no value; ``from`` is written ``from_`` in Python."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType, field

from mana.protocol.types import (
    AckId,
    CallId,
    DeviceId,
    Emoji,
    Index,
    MessageId,
    RoomId,
    Sdp,
    Sequence,
    Timestamp,
    UserId,
)


class ServerFrame(Struct, kw_only=True, tag_field="type", omit_defaults=True):
    """A frame of the server."""


class Limits(Struct, kw_only=True):
    """What a session may send, told in ``welcome``."""

    max_message_size: int
    max_in_flight: int
    rate_limit_per_second: float
    rate_limit_burst: int


class Welcome(ServerFrame, kw_only=True, tag="welcome"):
    """The first frame of every session. Events after ``latest_sequence`` come live, those up to it by sync."""

    session_id: str
    user_id: UserId
    username: str
    device_id: DeviceId
    latest_sequence: Sequence
    protocol: str
    limits: Limits
    features: list[str]
    server_time: Timestamp


class AckMessage(ServerFrame, kw_only=True, tag="ack"):
    """Answers a frame that carried ``ack_id``. For a message it means: committed, with this place in the order."""

    ack_id: AckId
    message_id: MessageId | None = None
    msg_id: MessageId | None = None
    sequence: Sequence | None = None
    index: Index | None = None
    room_id: RoomId | None = None
    timestamp: Timestamp | None = None
    duplicate: bool | None = None
    call_id: CallId | None = None


class ErrorFrame(ServerFrame, kw_only=True, tag="error"):
    """Answers a frame that was refused, or comes before a close. ``retry_after`` is in seconds.

    ``details`` come with ``stale_device_list``: which devices are ``missing`` or ``extra`` (``{user_id, device_id}``),
    and whose device lists are ``stale`` (``{user_id, epoch}`` as it is now; null: they have none).
    """

    code: str
    error: str
    ack_id: AckId | None = None
    retry_after: float | None = None
    details: Any = None


class Pong(ServerFrame, kw_only=True, tag="pong"):
    """Answers ``ping``."""

    ack_id: AckId | None = None


class Event(ServerFrame, kw_only=True):
    """What all sequenced frames share. ``index`` is absent in what only the user's own devices are told."""

    id: MessageId
    sequence: Sequence
    index: Index | None = None
    room_id: RoomId
    timestamp: Timestamp
    from_: UserId | None = field(name="from", default=None)
    username: str | None = None


class AttachmentInfo(Struct, kw_only=True, omit_defaults=True):
    """A file that a message carries; `attachments/{id}/file` of the REST API gives it."""

    id: MessageId
    name: str
    content_type: str
    size: int
    width: int | None = None
    height: int | None = None
    thumbnail: bool = False


class ReactionCount(Struct, kw_only=True, omit_defaults=True):
    """How many put an emoji on a message, and the first of them."""

    emoji: Emoji
    count: int
    user_ids: list[UserId]
    me: bool = False


class Message(Event, kw_only=True, tag="message"):
    """A stored message as it is now. ``ack_id`` is there for the sender's own devices only.

    Of a ``deleted`` message the payload is null. ``reactions`` come with sync and history; live there are none yet.
    Of an ``encrypted`` one the payload is this device's ciphertext, null where there is none (any more).
    """

    sender_id: UserId | None = None
    device_id: DeviceId | None = None
    to: UserId | None = None
    target_id: UserId | None = None
    payload: Raw
    reply_to: MessageId | None = None
    mentions: list[UserId] | None = None
    attachments: list[AttachmentInfo] | None = None
    edited_at: Timestamp | None = None
    deleted: bool = False
    reactions: list[ReactionCount] | None = None
    encrypted: bool = False
    ack_id: AckId | None = None


class Encrypted(ServerFrame, kw_only=True, tag="encrypted"):
    """Something encrypted from device to device that is no message of a room (``control``). Sequenced, so that it waits
    for devices that are offline, and comes before the messages sent after it. ``payload`` is as in ``message``.
    """

    id: MessageId
    sequence: Sequence
    timestamp: Timestamp
    from_: UserId = field(name="from")
    username: str
    device_id: DeviceId
    room_id: RoomId | None = None
    payload: Raw


class MessageEdit(Event, kw_only=True, tag="message_edit"):
    """A message has a new payload: what it says now, null if it was deleted since.

    Without ``payload``, ask ``GET messages/{id}``: the message is older than what some of those who get this may read.
    """

    message_id: MessageId
    payload: Raw | UnsetType = UNSET
    mentions: list[UserId] | None = None


class MessageDelete(Event, kw_only=True, tag="message_delete"):
    """A message was deleted: for everyone, or (scope ``me``, without ``index``) for the user who gets this."""

    message_id: MessageId
    scope: Literal["me", "everyone"] = "everyone"


class Reaction(Event, kw_only=True, tag="reaction"):
    """A reaction was added or removed; ``count`` is how many of this emoji the message has now."""

    message_id: MessageId
    emoji: Emoji
    remove: bool = False
    count: int


class RoomInfo(Struct, kw_only=True, omit_defaults=True):
    """A room as everybody in it sees it."""

    id: RoomId
    name: str
    room_type: Literal["direct", "group", "channel"]
    is_private: bool
    topic: str
    shares_history: bool
    avatar: str | None = None
    is_frozen: bool = False
    slow_mode: int = 0
    retention_days: int = 0
    retention_count: int = 0


class RoomPreferences(Struct, kw_only=True):
    """How the user themselves wants a room: nobody else is told."""

    archived: bool
    pinned: bool
    notifications: Literal["default", "all", "mentions", "none"]
    silenced_until: Timestamp | None


class RoomMember(Struct, kw_only=True, omit_defaults=True):
    """Whom a room event is about."""

    user_id: UserId
    username: str
    role: str


class RoomEvent(Event, kw_only=True, tag="room"):
    """A room changed.

    ``members`` are those whom the change is about: who came, left, or has another role. ``message_id`` is what was
    ``pinned`` or ``unpinned``, ``until`` how long somebody is ``muted``. Without ``index`` the user alone is told:
    of an invitation to them (``invited``, ``declined``) or of their ``preferences``. After ``deleted`` nothing of the
    room is left.
    """

    action: Literal[
        "created",
        "joined",
        "left",
        "removed",
        "invited",
        "declined",
        "updated",
        "role",
        "muted",
        "unmuted",
        "banned",
        "unbanned",
        "pinned",
        "unpinned",
        "deleted",
        "preferences",
    ]
    room: RoomInfo
    members: list[RoomMember]
    message_id: MessageId | None = None
    until: Timestamp | None = None
    preferences: RoomPreferences | None = None


class WarningEvent(ServerFrame, kw_only=True, tag="warning"):
    """A moderator warns the user. Sequenced, so that it waits for devices that are offline."""

    id: MessageId
    sequence: Sequence
    timestamp: Timestamp
    text: str
    room_id: RoomId | None = None
    message_id: MessageId | None = None


class TypingEvent(ServerFrame, kw_only=True, tag="typing"):
    """Somebody types (``payload`` true) or stopped."""

    room_id: RoomId
    from_: UserId = field(name="from")
    username: str
    payload: Any
    to: UserId | None = None


class ReceiptEvent(ServerFrame, kw_only=True, tag="receipt"):
    """Somebody got or read everything in the room up to ``sequence``."""

    room_id: RoomId
    from_: UserId = field(name="from")
    sequence: Sequence
    index: Index
    status: Literal["delivered", "read"]
    timestamp: Timestamp


class PresenceEvent(ServerFrame, kw_only=True, tag="presence"):
    """Somebody in the room came online or went offline; without ``room_id``, one of the user's contacts."""

    user_id: UserId
    username: str
    online: bool
    room_id: RoomId | None = None
    last_seen: Timestamp | None = None


class DeviceSyncBatch(ServerFrame, kw_only=True, tag="message_sync"):
    """A batch of missed events, in order of sequence. Store ``cursor`` once the batch is handled."""

    cursor: Sequence
    has_more: bool
    messages: list[Raw]
    reason: str
    session_id: str | None = None
    device_id: DeviceId | None = None
    timestamp: Timestamp
    ack_id: AckId | None = None


class History(ServerFrame, kw_only=True, tag="history"):
    """A page of a room's events, in order of index."""

    room_id: RoomId
    messages: list[Raw]
    has_more: bool
    ack_id: AckId | None = None


class Notification(ServerFrame, kw_only=True, tag="notification"):
    """Something the user is told of."""

    id: MessageId
    title: str
    body: str
    timestamp: Timestamp
    data: Any = None
    kind: str | None = None
    silent: bool = False


class NotificationRead(ServerFrame, kw_only=True, tag="notification_read"):
    """The user read notifications, or dismissed them, on one of their devices; without ``ids``, all of them."""

    ids: list[MessageId] | None = None
    unread: int


class PreferenceEvent(ServerFrame, kw_only=True, tag="preference"):
    """The user changed a preference on one of their devices."""

    key: str
    value: Any
    is_default: bool = False


class PersonStatus(Struct, kw_only=True, omit_defaults=True):
    """What somebody says of themselves for now."""

    text: str = ""
    emoji: str = ""
    expires_at: Timestamp | None = None


class PersonInfo(Struct, kw_only=True, omit_defaults=True):
    """A person as others see them."""

    user_id: UserId
    username: str
    display_name: str = ""
    about: str = ""
    avatar_url: str | None = None
    status: PersonStatus | None = None
    deleted: bool = False


class ProfileEvent(ServerFrame, kw_only=True, tag="profile"):
    """Somebody in a common room, or a contact, changed their profile; ``deleted``: their account is gone."""

    person: PersonInfo


class ContactEvent(ServerFrame, kw_only=True, tag="contact"):
    """The user's list of contacts, requests or blocked people changed."""

    action: Literal["requested", "withdrawn", "declined", "accepted", "updated", "removed", "blocked", "unblocked"]
    person: PersonInfo
    from_: UserId | None = field(name="from", default=None)


class CallMember(Struct, kw_only=True, omit_defaults=True):
    """Somebody in a call, or rung by it, as everybody in the call sees them.

    ``session_id`` and ``device_id`` are those that they are in the call with. ``pinned`` is whom they have pinned.
    ``recording``: the server lets them record the call, and they do.
    """

    user_id: UserId
    username: str
    state: Literal["ringing", "joined", "left", "rejected", "busy", "missed", "removed"]
    session_id: str | None = None
    device_id: DeviceId | None = None
    muted: bool = False
    camera: bool = False
    screen: bool = False
    pinned: UserId | None = None
    recording: bool = False


class CallEvent(ServerFrame, kw_only=True):
    """What the frames of a call's life share.

    ``from``, ``session_id`` and ``device_id`` are stamped by the server. ``participants`` is everybody in the call and
    who is being rung.
    """

    call_id: CallId
    room_id: RoomId | None = None
    from_: UserId | None = field(name="from", default=None)
    username: str | None = None
    session_id: str | None = None
    device_id: DeviceId | None = None
    reason: str | None = None
    payload: Any = None
    timestamp: Timestamp | None = None
    participants: list[CallMember] | None = None


class CallStarted(CallEvent, kw_only=True, tag="call_start"):
    """A call rings: those whose ``state`` is ``ringing``."""


class CallAccepted(CallEvent, kw_only=True, tag="call_accept"):
    """Somebody answered or joined a call. Their other devices stop ringing."""


class CallRejected(CallEvent, kw_only=True, tag="call_reject"):
    """Somebody declined a call, or is busy. Their other devices stop ringing."""


class CallEnded(CallEvent, kw_only=True, tag="call_end"):
    """A call is over, or for the user who gets this it is: then ``reason`` is ``removed``."""


class CallParticipantEvent(CallEvent, kw_only=True, tag="call_participant"):
    """Somebody left a call that goes on, did not answer, came back to it with another connection, or records it from
    now on: ``reason`` says which."""

    participant: CallMember


class IceServer(Struct, kw_only=True, omit_defaults=True):
    """An entry of ``RTCConfiguration.iceServers``."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class IceServers(ServerFrame, kw_only=True, tag="ice_servers"):
    """What an ``RTCPeerConnection`` is made with. The credentials hold for ``expires_in`` seconds, absent: for good."""

    ice_servers: list[IceServer]
    ice_transport_policy: Literal["all", "relay"]
    expires_in: int | None = None
    ack_id: AckId | None = None


class SignalEvent(ServerFrame, kw_only=True):
    """What relayed signaling frames share; ``from``, ``session_id`` and ``device_id`` are stamped by the server."""

    from_: UserId | None = field(name="from", default=None)
    username: str | None = None
    session_id: str | None = None
    device_id: DeviceId | None = None
    room_id: RoomId | None = None
    to: UserId | None = None
    payload: Any = None


class OfferEvent(SignalEvent, kw_only=True, tag="offer"):
    """A peer's SDP offer."""

    sdp: Sdp


class AnswerEvent(SignalEvent, kw_only=True, tag="answer"):
    """A peer's SDP answer."""

    sdp: Sdp


class CandidateEvent(SignalEvent, kw_only=True, tag="candidate"):
    """A peer's ICE candidate."""

    candidate: Any


class CallKeyEvent(SignalEvent, kw_only=True, tag="call_key"):
    """A key of somebody in the call, sealed for the user who gets this."""

    call_id: CallId


class SfuOfferEvent(SignalEvent, kw_only=True, tag="sfu_offer"):
    """The SFU's SDP offer."""

    sdp: Sdp


class SfuAnswerEvent(SignalEvent, kw_only=True, tag="sfu_answer"):
    """The SFU's SDP answer."""

    sdp: Sdp


class SfuCandidateEvent(SignalEvent, kw_only=True, tag="sfu_candidate"):
    """The SFU's ICE candidate."""

    candidate: Any


class SubscribeEvent(SignalEvent, kw_only=True, tag="subscribe"):
    """The tracks that the SFU sends."""


class ReadyEvent(SignalEvent, kw_only=True, tag="ready"):
    """A participant is ready."""


class TrackAdded(SignalEvent, kw_only=True, tag="track_added"):
    """A participant publishes a track."""


class TrackRemoved(SignalEvent, kw_only=True, tag="track_removed"):
    """A participant no longer publishes a track."""


class ActiveSpeaker(SignalEvent, kw_only=True, tag="active_speaker"):
    """Who speaks."""


class MuteEvent(SignalEvent, kw_only=True, tag="mute"):
    """A participant muted or unmuted; with ``to``, a moderator (``from``) muted them."""


class CameraToggleEvent(SignalEvent, kw_only=True, tag="camera_toggle"):
    """A participant's camera went on or off."""


class ScreenShareStartEvent(SignalEvent, kw_only=True, tag="screen_share_start"):
    """A participant shares the screen."""


class ScreenShareStopEvent(SignalEvent, kw_only=True, tag="screen_share_stop"):
    """A participant no longer shares the screen."""


class PinEvent(SignalEvent, kw_only=True, tag="pin"):
    """A participant pinned somebody."""


class DeviceBundle(Struct, kw_only=True):
    """The prekey bundle of one device, in base64."""

    device_id: DeviceId
    bundle: str


class PrekeyBundle(ServerFrame, kw_only=True, tag="get_prekey_bundle"):
    """One prekey bundle per device of a user, and the signed device list (base64) that vouches for them."""

    user_id: UserId
    bundles: list[DeviceBundle]
    epoch: int | None = None
    device_list: str | None = None
    ack_id: AckId | None = None


class PrekeysLow(ServerFrame, kw_only=True, tag="prekeys_low"):
    """One of the user's devices has few one-time prekeys left at the server: send ``prekey_refill``."""

    device_id: DeviceId
    remaining: int


class DeviceListEvent(ServerFrame, kw_only=True, tag="device_list"):
    """Somebody's devices have changed: read ``e2ee/users/{id}/device-lists``. Without ``epoch`` they have no list any
    more; ``removed`` are devices whose keys the server has dropped."""

    user_id: UserId
    epoch: int | None = None
    removed: list[DeviceId] = []


#: Every frame that the server may send; the AsyncAPI document is made from it.
SERVER_FRAMES: tuple[type[ServerFrame], ...] = (
    AckMessage,
    ActiveSpeaker,
    AnswerEvent,
    CallAccepted,
    CallEnded,
    CallKeyEvent,
    CallParticipantEvent,
    CallRejected,
    CallStarted,
    CameraToggleEvent,
    CandidateEvent,
    ContactEvent,
    DeviceListEvent,
    DeviceSyncBatch,
    Encrypted,
    ErrorFrame,
    History,
    IceServers,
    Message,
    MessageDelete,
    MessageEdit,
    MuteEvent,
    Notification,
    NotificationRead,
    OfferEvent,
    PinEvent,
    Pong,
    PreferenceEvent,
    PrekeyBundle,
    PrekeysLow,
    PresenceEvent,
    ProfileEvent,
    Reaction,
    ReadyEvent,
    ReceiptEvent,
    RoomEvent,
    ScreenShareStartEvent,
    ScreenShareStopEvent,
    SfuAnswerEvent,
    SfuCandidateEvent,
    SfuOfferEvent,
    SubscribeEvent,
    TrackAdded,
    TrackRemoved,
    TypingEvent,
    WarningEvent,
    Welcome,
)
