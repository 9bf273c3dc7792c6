"""Microphone, camera, screen and pin of people in a call: stored, then told to everybody in it."""

from __future__ import annotations

from typing import Any

from mana.messaging.handlers import person_of
from mana.protocol import ErrorCode, ManaError, encode
from mana.protocol.client import CameraToggle, Mute, Pin, ScreenShareStart, ScreenShareStop, Signal
from mana.protocol.server import (
    CameraToggleEvent,
    MuteEvent,
    PinEvent,
    ScreenShareStartEvent,
    ScreenShareStopEvent,
    SignalEvent,
)
from mana.realtime.announcements import Announcement
from mana.realtime.dispatch import handles
from mana.realtime.session import Session
from mana_rtc.handlers.relay import PAYLOAD_BYTES, check_size, stamp
from mana_rtc.services import amute_other, aset_state

#: Characters of the id of whom somebody pins.
PIN_LENGTH = 128


@handles(Mute)
async def mute(session: Session, frame: Mute) -> None:
    """``payload``: whether the microphone is muted. With ``to``, a moderator mutes somebody."""
    if frame.to is None or frame.to == session.user_id:
        await _change(session, frame, MuteEvent, is_muted=_switch(frame))
        return
    if not _switch(frame):
        raise ManaError(ErrorCode.FORBIDDEN, "People unmute themselves.")
    room = _room(frame)
    _tell(session, room, await amute_other(room, person_of(session), frame.to), MuteEvent, to=frame.to, payload=True)


@handles(CameraToggle)
async def camera_toggle(session: Session, frame: CameraToggle) -> None:
    """``payload``: whether the camera is on."""
    await _change(session, frame, CameraToggleEvent, has_camera=_switch(frame))


@handles(ScreenShareStart)
async def screen_share_start(session: Session, frame: ScreenShareStart) -> None:
    """The screen is shared from now on."""
    await _change(session, frame, ScreenShareStartEvent, shares_screen=True)


@handles(ScreenShareStop)
async def screen_share_stop(session: Session, frame: ScreenShareStop) -> None:
    """And no longer."""
    await _change(session, frame, ScreenShareStopEvent, shares_screen=False)


@handles(Pin)
async def pin(session: Session, frame: Pin) -> None:
    """``payload``: the id of whom the user pins; null or false for nobody."""
    pinned = frame.payload or ""
    if not isinstance(pinned, str) or len(pinned) > PIN_LENGTH or not pinned.isprintable():
        raise ManaError(ErrorCode.INVALID, "The payload is a user's id, or null.")
    await _change(session, frame, PinEvent, pinned=pinned)


async def _change(session: Session, frame: Signal, event: type[SignalEvent], **values: Any) -> None:
    check_size(frame.payload, PAYLOAD_BYTES, "payload")
    room = _room(frame)
    users = await aset_state(room, person_of(session), **values)
    _tell(session, room, users, event, payload=frame.payload)


def _tell(session: Session, room: str, users: list[str], event: type[SignalEvent], **fields: Any) -> None:
    frame = event(**stamp(session), room_id=room, **fields)
    session.hub.announce([Announcement(0, "", encode(frame).decode(), origin=session.id, users=users)])


def _room(frame: Signal) -> str:
    if frame.room_id is None:
        raise ManaError(ErrorCode.INVALID, "The frame needs `room_id`.")
    return frame.room_id


def _switch(frame: Signal) -> bool:
    if not isinstance(frame.payload, bool):
        raise ManaError(ErrorCode.INVALID, "The payload is true or false.")
    return frame.payload
