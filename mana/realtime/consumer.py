"""The WebSocket consumer: handshake, then a loop that reads frames until the socket closes.

It is an ``AsyncConsumer`` for routing's sake only: Channels' own dispatch costs a thread hop and several tasks per
message, and a channel of its own per connection. Here the loop calls the dispatcher directly.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import UTC, datetime
from math import ceil
from typing import Any

from channels.consumer import AsyncConsumer
from django.db import DatabaseError, InterfaceError

from mana.conf import settings
from mana.protocol import SUBPROTOCOL, ClientFrame, CloseCode, ErrorCode, ManaError, decode, encode
from mana.protocol.client import Authenticate
from mana.protocol.codec import ack_id_of
from mana.protocol.server import Limits, Welcome
from mana.realtime import context, dispatch, tracing, transport
from mana.realtime import hub as hubs
from mana.realtime.counters import counters
from mana.realtime.drain import going_away
from mana.realtime.identity import Handshake, Identity, Refused
from mana.realtime.origins import is_allowed
from mana.realtime.session import Session, error_frame
from mana.realtime.wire import timestamp

logger = logging.getLogger("mana.consumer")

#: Seconds after which a client whom the database's absence kept out may try again.
DATABASE_RETRY_AFTER = 2.0

_DEVICE_ID = re.compile(r"[\x21-\x7e]{1,64}")


class Disconnected(Exception):
    """The client went away, or has answered our close; ``code`` is what the server says it was closed with."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        super().__init__(code)


class ManaConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """One socket. ``as_asgi()`` gives the ASGI application."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serves one connection."""
        event = await receive()
        if event["type"] != "websocket.connect":
            return
        handshake = Handshake.from_scope(scope)
        await send({"type": "websocket.accept", "subprotocol": _chosen_subprotocol(handshake)})
        receive = transport.inflow(send, receive, settings.MAX_MESSAGE_SIZE)
        session: Session | None = None
        hub = hubs.current()
        trace = tracing.tracer.connecting() if tracing.tracer is not None else None
        code: int | None = None
        address: str | None = None
        try:
            if hub.draining:
                raise Refused(ErrorCode.GOING_AWAY, close_code=CloseCode.GOING_AWAY, retry_after=going_away(hub))
            entering = hub.admission.address_of(handshake)
            hub.admission.enter(entering)
            address = entering
            identity = await self._authenticate(hub, handshake, receive)
            session = await self._open(hub, handshake, identity, send)
            context.session_id.set(session.id)
            if trace is not None:
                session.trace = trace
                trace.opened(session)
            await self._read(session, receive)
        except Refused as refusal:
            if trace is not None:
                trace.refused(refusal.code)
            await _turn_away(send, refusal)
        except Disconnected as disconnected:
            code = disconnected.code
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            logger.warning("A connection met a database error: %s", error or "no answer in time")
            if trace is not None:
                trace.refused(ErrorCode.UNAVAILABLE)
            await _turn_away(
                send, Refused(ErrorCode.UNAVAILABLE, close_code=CloseCode.GOING_AWAY, retry_after=DATABASE_RETRY_AFTER)
            )
        finally:
            if address is not None:
                hub.admission.leave(address)
            if session is not None:
                if session.expiry is not None:
                    session.expiry.cancel()
                hub.remove(session)
                counters.closed_with(session.close_code or code)

    # -- Who is it ---------------------------------------------------------------------------------------------------

    async def _authenticate(self, hub: hubs.Hub, handshake: Handshake, receive: Any) -> Identity:
        _check_origin(handshake)
        async with asyncio.timeout(settings.DATABASE_TIMEOUT):
            identity: Identity | None = await hub.database.run(identify, handshake)
        if identity is not None:
            return identity
        try:
            async with asyncio.timeout(settings.AUTH_TIMEOUT):
                text = await _receive_text(receive)
        except TimeoutError:
            raise Refused(ErrorCode.UNAUTHENTICATED, "No credentials came in time.") from None
        try:
            frame = decode(text, max_size=settings.MAX_MESSAGE_SIZE, max_depth=settings.MAX_DEPTH)
        except ManaError as error:
            raise Refused(error.code, error.detail) from None
        if not isinstance(frame, Authenticate):
            raise Refused(ErrorCode.UNAUTHENTICATED, "The first frame must be `auth`, or the handshake authenticate.")
        async with asyncio.timeout(settings.DATABASE_TIMEOUT):
            return await hub.database.run(settings.TOKEN_AUTHENTICATOR, frame.token)

    async def _open(self, hub: hubs.Hub, handshake: Handshake, identity: Identity, send: Any) -> Session:
        async with asyncio.timeout(settings.DATABASE_TIMEOUT):
            await hub.start()
        named = handshake.query.get("device_id") or None
        if named is not None and not _DEVICE_ID.fullmatch(named):
            raise Refused(
                ErrorCode.INVALID,
                "device_id must be 1 to 64 printable ASCII characters.",
                close_code=CloseCode.FORBIDDEN,
            )
        hub.admission.check_user(len(hub.users.get(identity.user_id, ())))
        session = Session(
            hub, identity, identity.device_id or named, send, arrays=SUBPROTOCOL in handshake.subprotocols
        )
        try:
            async with asyncio.timeout(settings.DATABASE_TIMEOUT):
                await hub.add(session)
        except BaseException:
            hub.remove(session)
            raise
        schedule_expiry(session)
        counters.opened += 1
        session.send(
            Welcome(
                session_id=session.id,
                user_id=session.user_id,
                username=session.username,
                device_id=session.device_id,
                latest_sequence=hub.latest_sequence,
                protocol=SUBPROTOCOL,
                limits=Limits(
                    max_message_size=settings.MAX_MESSAGE_SIZE,
                    max_in_flight=settings.MAX_IN_FLIGHT,
                    rate_limit_per_second=settings.RATE_LIMIT_PER_SECOND,
                    rate_limit_burst=settings.RATE_LIMIT_BURST,
                ),
                features=dispatch.features(),
                server_time=timestamp(datetime.now(UTC)),
            )
        )
        return session

    # -- What it says ------------------------------------------------------------------------------------------------

    async def _read(self, session: Session, receive: Any) -> None:
        max_size, max_depth = settings.MAX_MESSAGE_SIZE, settings.MAX_DEPTH
        bucket, clock = session.bucket, session.hub.loop.time
        of_user = session.hub.bucket_of(session.user_id)
        while True:
            text = await _receive_text(receive)
            counters.bytes_in += len(text)
            if session.closing or session.hub.draining:
                continue  # until the client has answered the close; it sends again what was not acked
            now = clock()
            wait = bucket.take(now) or of_user.take(now)
            if wait:
                self._refuse(
                    session, ErrorCode.RATE_LIMITED, ack_id=ack_id_of(text), retry_after=ceil(wait * 1000) / 1000
                )
                continue
            try:
                frame = decode(text, max_size=max_size, max_depth=max_depth)
            except ManaError as error:
                if error.code is ErrorCode.TOO_LARGE:
                    session.close(CloseCode.TOO_BIG, error.code, detail=error.detail)
                else:
                    self._refuse(session, error.code, detail=error.detail, ack_id=error.ack_id)
                continue
            counters.frames_in[type(frame)] += 1
            await self._handle(session, frame)

    async def _handle(self, session: Session, frame: ClientFrame) -> None:
        if session.trace is None:
            await dispatch.dispatch(session, frame)
        else:
            await session.trace.handle(dispatch.dispatch, session, frame)
        if session.in_flight >= settings.MAX_IN_FLIGHT:
            await session.until_in_flight(settings.MAX_IN_FLIGHT - 1)

    def _refuse(self, session: Session, code: ErrorCode, **details: Any) -> None:
        if session.patience.take(session.hub.loop.time()):
            session.close(CloseCode.FLOOD, ErrorCode.RATE_LIMITED, detail="Too many refused frames.")
        else:
            session.send(error_frame(code, **details))


def identify(handshake: Handshake) -> Identity | None:
    """Who the handshake proves the client to be, by the first authenticator that applies. Raises ``Refused``."""
    for authenticator in settings.AUTHENTICATORS:
        identity: Identity | None = authenticator(handshake)
        if identity is not None:
            return identity
    return None


def schedule_expiry(session: Session) -> None:
    """Closes the session when its credentials expire, unless it is renewed before."""
    if session.expiry is not None:
        session.expiry.cancel()
        session.expiry = None
    if session.identity.expires_at is not None:
        session.expiry = session.hub.loop.call_later(
            max(0.0, session.identity.expires_at - time.time()),
            session.close,
            CloseCode.UNAUTHENTICATED,
            ErrorCode.TOKEN_EXPIRED,
        )


@dispatch.handles(Authenticate)
async def renew(session: Session, frame: Authenticate) -> None:
    """Renews a session with a newer token of the same user."""
    identity: Identity = await session.hub.database.run(settings.TOKEN_AUTHENTICATOR, frame.token)
    if identity.user_id != session.user_id:
        raise ManaError(ErrorCode.FORBIDDEN, "The token belongs to another user.")
    session.identity = identity
    schedule_expiry(session)


def _check_origin(handshake: Handshake) -> None:
    origin = handshake.headers.get("origin")
    if origin is None:
        # No browser. What proves it must then be something that a browser would not have added by itself.
        if "cookie" in handshake.headers and not _has_explicit_credentials(handshake):
            raise Refused(
                ErrorCode.ORIGIN_FORBIDDEN,
                "Without an Origin a bearer token or ticket is needed.",
                close_code=CloseCode.FORBIDDEN,
            )
        return
    if not is_allowed(origin, handshake.headers.get("host", ""), settings.ALLOWED_ORIGINS):
        raise Refused(ErrorCode.ORIGIN_FORBIDDEN, close_code=CloseCode.FORBIDDEN)


def _has_explicit_credentials(handshake: Handshake) -> bool:
    return (
        handshake.headers.get("authorization", "").lower().startswith("bearer ")
        or handshake.bearer_subprotocol is not None
        or "ticket" in handshake.query
        or (settings.ALLOW_QUERY_TOKEN and "token" in handshake.query)
    )


def _chosen_subprotocol(handshake: Handshake) -> str | None:
    # Browsers fail a connection whose offered subprotocols are not answered (RFC 6455 section 4.1).
    for name in (SUBPROTOCOL, "mana"):
        if name in handshake.subprotocols:
            return name
    return None


async def _receive_text(receive: Any) -> str | bytes:
    event = await receive()
    if event["type"] != "websocket.receive":
        raise Disconnected(event.get("code"))
    text = event.get("text")
    return text if text is not None else event.get("bytes") or b""


async def _turn_away(send: Any, refusal: Refused) -> None:
    frame = error_frame(refusal.code, refusal.detail, retry_after=refusal.retry_after)
    counters.refused += 1
    try:
        await send({"type": "websocket.send", "text": encode(frame).decode()})
        await transport.close(send, refusal.close_code)
    except Exception as error:  # the client did not wait for it
        logger.debug("A refused client was gone: %s", error)
