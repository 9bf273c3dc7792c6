"""WebSocket frames to services."""

from __future__ import annotations

from functools import partial

from django.utils import timezone
from msgspec import Raw

from mana.accounts.services import resolve
from mana.accounts.stores import Person
from mana.messaging.drafts import Draft, Placed, checked_ack_id, parse_message_id, payload_text
from mana.messaging.hooks import approve, has_hooks
from mana.messaging.limits import creations, joins
from mana.messaging.models import Room
from mana.messaging.sequencer import Result
from mana.messaging.services.changes import adelete, aedit, ahide, areact
from mana.messaging.services.reaching import acheck_reaches, apeer_in
from mana.messaging.services.receipts import amark
from mana.messaging.services.rooms import adirect_room, ajoin, aleave
from mana.messaging.services.sync import ahistory, async_
from mana.messaging.writer import Writer
from mana.protocol import AckMessage, DeviceSyncBatch, ErrorCode, ManaError, SendMessage, SyncRequest, encode
from mana.protocol.client import DeleteMessage, EditMessage, HistoryRequest, Join, Leave, React, Receipt, Typing
from mana.protocol.server import History, TypingEvent
from mana.realtime.announcements import Announcement
from mana.realtime.dispatch import Answer, handles
from mana.realtime.session import Session, error_frame
from mana.realtime.wire import timestamp


@handles(SendMessage)
async def send(session: Session, frame: SendMessage) -> Answer:
    """Hands a message to the writer. The session reads on; the ack follows the commit."""
    draft = Draft(
        room_key="",
        sender=person_of(session),
        payload_json=payload_text(frame.payload),
        ack_id=checked_ack_id(frame.ack_id),
        reply_to=parse_message_id(frame.reply_to) if frame.reply_to is not None else None,
        device_id=session.device_id,
        session_id=session.id,
        mentions=frame.mentions,
        attachments=[parse_message_id(one) for one in frame.attachments],
    )
    draft.room_key = await _room_key(session, frame)  # last: it may make a direct room, and a refusal must not
    if has_hooks():
        await session.hub.database.run_once(approve, draft)
    session.hub.extension(Writer).submit(draft, partial(_answer, session, frame.ack_id))
    session.in_flight += 1
    return Answer.LATER


def _answer(session: Session, ack_id: str | None, result: Result) -> None:
    session.answered()
    if isinstance(result, ManaError):
        session.send(error_frame(result.code, result.detail, retry_after=result.retry_after, ack_id=ack_id))
    elif ack_id is not None:
        session.send(ack_of(ack_id, result))


def ack_of(ack_id: str, placed: Placed) -> AckMessage:
    """The ack of a message that has its place."""
    message_id = str(placed.message_id)
    return AckMessage(
        ack_id=ack_id,
        message_id=message_id,
        msg_id=message_id,
        sequence=placed.sequence,
        index=placed.index,
        room_id=placed.room_key,
        timestamp=timestamp(placed.created_at),
        duplicate=placed.duplicate,
    )


@handles(EditMessage)
async def edit(session: Session, frame: EditMessage) -> AckMessage | None:
    """Replaces what a message says."""
    await session.until_in_flight(0)
    message_id = parse_message_id(frame.message_id)
    result = await aedit(message_id, person_of(session), frame.payload, mentions=frame.mentions)
    return _changed(frame.ack_id, result.message.room, result.event)


@handles(DeleteMessage)
async def delete(session: Session, frame: DeleteMessage) -> AckMessage | None:
    """Deletes a message for the user alone, or for everyone."""
    await session.until_in_flight(0)
    remove = ahide if frame.scope == "me" else adelete
    result = await remove(parse_message_id(frame.message_id), person_of(session))
    return _changed(frame.ack_id, result.message.room, result.event)


@handles(React)
async def react(session: Session, frame: React) -> AckMessage | None:
    """Puts an emoji on a message, or takes it back."""
    await session.until_in_flight(0)
    message_id = parse_message_id(frame.message_id)
    result = await areact(message_id, person_of(session), frame.emoji, remove=frame.remove)
    return _changed(frame.ack_id, result.message.room, result.event)


@handles(Join)
async def join(session: Session, frame: Join) -> AckMessage | None:
    """Joins a room, or makes it."""
    await session.until_in_flight(0)
    run = session.hub.database.run
    refusal = await run(_counted, session.user_id)
    try:
        result = await ajoin(
            frame.room_id,
            person_of(session),
            create=refusal is None,
            name=frame.name,
            room_type=frame.room_type,
        )
    except ManaError as error:
        if refusal is not None and error.code is ErrorCode.NOT_FOUND:
            raise refusal from None
        raise
    if result.event is not None and result.event.index == 1:
        await run(creations.count, session.user_id)
    return _changed(frame.ack_id, result.room, result.event)


def _counted(user_id: str) -> ManaError | None:
    """Counts a join; why its user may not make a room, if so. Raises ``ManaError`` if they may not even join one."""
    joins.take(user_id)
    try:
        creations.check(user_id)
    except ManaError as refusal:
        return refusal
    return None


@handles(Leave)
async def leave(session: Session, frame: Leave) -> AckMessage | None:
    """Leaves a room."""
    await session.until_in_flight(0)
    result = await aleave(frame.room_id, person_of(session))
    return _changed(frame.ack_id, result.room, result.event)


def _changed(ack_id: str | None, room: Room, event: object) -> AckMessage | None:
    if ack_id is None:
        return None
    return AckMessage(
        ack_id=ack_id,
        room_id=room.key,
        sequence=getattr(event, "sequence", None) or room.last_sequence,
        index=getattr(event, "index", None) or room.last_index,
        timestamp=timestamp(timezone.now()),
    )


@handles(Typing)
async def typing(session: Session, frame: Typing) -> None:
    """Tells the others in the room. Not stored: who receives a room's events is in it, and the database is asked only
    whether the other one in a direct room wants to hear of it."""
    room_key = frame.room_id if frame.room_id is not None else await _room_key(session, frame)
    if room_key not in session.rooms:
        raise ManaError(ErrorCode.NOT_A_MEMBER)
    await check_reaches(session, room_key)
    event = TypingEvent(
        room_id=room_key, from_=session.user_id, username=session.username, payload=frame.payload, to=frame.to
    )
    session.hub.announce([Announcement(0, room_key, encode(event).decode(), origin=session.id)])


@handles(Receipt)
async def receipt(session: Session, frame: Receipt) -> None:
    """Moves the user's delivered or read position in a room."""
    await session.until_in_flight(0)
    await amark(frame.room_id, person_of(session), frame.sequence, frame.status, session_id=session.id)


@handles(SyncRequest)
async def sync(session: Session, frame: SyncRequest) -> DeviceSyncBatch:
    """Gives what happened since the cursor."""
    await session.until_in_flight(0)
    batch = await async_(person_of(session), frame.cursor, device_id=session.named_device, limit=frame.limit)
    return DeviceSyncBatch(
        cursor=batch.cursor,
        has_more=batch.has_more,
        messages=[Raw(one) for one in batch.frames],
        reason=batch.reason,
        session_id=session.id,
        device_id=session.device_id,
        timestamp=timestamp(timezone.now()),
        ack_id=frame.ack_id,
    )


@handles(HistoryRequest)
async def history(session: Session, frame: HistoryRequest) -> History:
    """Gives a page of a room's past."""
    await session.until_in_flight(0)
    page = await ahistory(
        frame.room_id,
        person_of(session),
        before=frame.before,
        after=frame.after,
        limit=frame.limit,
        device_id=session.named_device,
    )
    return History(
        room_id=frame.room_id,
        messages=[Raw(one) for one in page.frames],
        has_more=page.has_more,
        ack_id=frame.ack_id,
    )


def person_of(session: Session) -> Person:
    """The person behind a session."""
    identity = session.identity
    return Person(identity.user_pk, identity.user_id, identity.username, "")


async def _room_key(session: Session, frame: SendMessage | Typing) -> str:
    """The room that a frame is for: named, or the direct room with ``to``."""
    if frame.room_id is not None:
        return frame.room_id
    if frame.to is None:
        raise ManaError(ErrorCode.INVALID, "The frame needs `room_id` or `to`.")
    return await direct_room_with(session, frame.to)


async def direct_room_with(session: Session, user_id: str) -> str:
    """The id of the direct room of the session's user and another one."""
    known = session.hub.extension(DirectRooms).keys
    pair = (session.user_id, user_id)
    if pair not in known:
        other = (await session.hub.database.run(resolve, [user_id])).get(user_id)
        if other is None:
            raise ManaError(ErrorCode.NOT_FOUND, f"There is no user {user_id[:64]!r}.")
        if len(known) >= DirectRooms.SIZE:
            known.clear()
        known[pair] = (await adirect_room(person_of(session), other)).room.key
    return known[pair]


async def check_reaches(session: Session, room_key: str, *, calling: bool = False) -> None:
    """Raises ``ManaError`` with ``forbidden`` in a direct room with somebody whom the session's user may not write to
    or, with ``calling``, call."""
    known = session.hub.extension(DirectRooms).peers
    asked = (session.user_id, room_key)
    if asked not in known:
        peer = await apeer_in(room_key, person_of(session))
        if len(known) >= DirectRooms.SIZE:
            known.clear()
        known[asked] = peer
    other = known[asked]
    if other is not None:
        await acheck_reaches(person_of(session), other, calling=calling)


class DirectRooms:
    """Direct rooms that were looked up: they never change their people."""

    SIZE = 10_000

    def __init__(self, hub: object) -> None:
        #: By the ids of the one who asked and the other one.
        self.keys: dict[tuple[str, str], str] = {}
        #: The other one, by the ids of the one who asked and the room; ``None`` in rooms that are not direct.
        self.peers: dict[tuple[str, str], str | None] = {}
