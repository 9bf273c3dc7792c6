"""Which function handles which frame. Apps register their handlers; the consumer knows no frame by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError

from mana import signals
from mana.conf import settings
from mana.protocol import AckMessage, ClientFrame, ErrorCode, ManaError, ServerFrame, frame_type
from mana.protocol.client import Ping
from mana.protocol.server import Pong
from mana.realtime.session import Session, error_frame

logger = logging.getLogger("mana.dispatch")

FrameT = TypeVar("FrameT", bound=ClientFrame)


class Answer(Enum):
    """What a handler returns that sends its answer itself."""

    LATER = "later"


Result = ServerFrame | Answer | None
Handler = Callable[[Session, Any], Awaitable[Result]]

_handlers: dict[type[ClientFrame], Handler] = {}


def handles(
    frame_class: type[FrameT],
) -> Callable[[Callable[[Session, FrameT], Awaitable[Result]]], Callable[[Session, FrameT], Awaitable[Result]]]:
    """Registers a coroutine function ``handler(session, frame)``.

    It returns the frame that answers, ``None`` for a plain ``ack``, or ``Answer.LATER``; it refuses with ``ManaError``.
    """

    def register(
        handler: Callable[[Session, FrameT], Awaitable[Result]],
    ) -> Callable[[Session, FrameT], Awaitable[Result]]:
        _handlers[frame_class] = handler
        return handler

    return register


def features() -> list[str]:
    """The types of the frames that are handled here."""
    return sorted(frame_type(frame_class) for frame_class in _handlers)


async def dispatch(session: Session, frame: ClientFrame) -> None:
    """Handles a frame. Whatever goes wrong, the session gets an ``error`` frame and goes on."""
    try:
        handler = _handlers.get(type(frame))
        if handler is None:
            raise ManaError(
                ErrorCode.NOT_SUPPORTED, f"This server does not handle frames of type {frame_type(frame)!r}."
            )
        async with asyncio.timeout(settings.DATABASE_TIMEOUT):
            answer = await handler(session, frame)
    except ManaError as error:
        session.send(
            error_frame(
                error.code,
                error.detail,
                retry_after=error.retry_after,
                ack_id=error.ack_id or frame.ack_id,
                details=error.details,
            )
        )
        return
    except (DatabaseError, InterfaceError, TimeoutError) as error:
        logger.warning("A %r frame met a database error: %s", frame_type(frame), error or "no answer in time")
        session.send(error_frame(ErrorCode.UNAVAILABLE, retry_after=1.0, ack_id=frame.ack_id))
        return
    except Exception:
        logger.exception("The handler of a %r frame failed.", frame_type(frame))
        session.send(error_frame(ErrorCode.INTERNAL, ack_id=frame.ack_id))
        return
    if answer is Answer.LATER:
        return  # a message: its own signals tell of it
    if answer is not None:
        session.send(answer)
    elif frame.ack_id is not None:
        session.send(AckMessage(ack_id=frame.ack_id))
    session.hub.hooks.post(signals.signal_received, frame_type(frame), frame=frame, session=session)
    await session.hub.hooks.settled()  # who sends faster than receivers work is the one to wait


@handles(Ping)
async def ping(session: Session, frame: Ping) -> Pong:
    """Answers, so that a client can tell a live socket from a half-open one."""
    return Pong(ack_id=frame.ack_id)
