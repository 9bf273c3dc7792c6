"""What lies behind daphne's ``send``: how much it has not yet written, and a short way to the socket.

daphne takes everything that it is given and never makes the sender wait (django/daphne#170), so a peer that stops
reading would grow its buffer without bound. ASGI has no way to ask for that. And of the time of a message to a room of
100, four fifths go into telling the reactor to write, being told by it to write, and putting the same frame together
once per socket: writing a frame that is made once, at once, is two to three times as fast.

It takes everything in as well: what comes while a frame waits for the database would queue without bound, so
``inflow`` has it read no further, as uvicorn does by itself. It drops who breaks WebSocket's rules; here they are told
the code first. And neither server counts the pieces of a message, some 80 bytes each however little they hold.

Servers that are not known here are used through ASGI alone; they make ``send`` wait when a peer does not read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

#: Messages that may wait to be handled before no more is read from their socket. What the kernel gave at one reading,
#: 64 KiB, is taken in whole.
WAITING = 16
#: A message that is larger than may be is taken in up to so many times what is allowed, so that its sender is told.
TOLERANCE = 2
#: Pieces that a message may come in.
PIECES = 4096
TOO_LARGE = "The message is too large, or in too many pieces."


class Gone(Exception):
    """The socket is closed or about to be."""


def backlog(send: Send) -> Callable[[], int] | None:
    """A function that gives the unwritten bytes behind an ASGI ``send``, or ``None`` where ``send`` waits for them."""
    protocol = _daphne_protocol(send)
    if protocol is None or not hasattr(protocol.transport, "dataBuffer"):
        return None

    def unwritten() -> int:
        transport = protocol.transport
        return len(transport.dataBuffer) + int(transport._tempDataLen) if transport is not None else 0

    return unwritten


async def close(send: Send, code: int) -> None:
    """Closes a WebSocket with a code."""
    protocol = _daphne_protocol(send)
    if protocol is not None and code != 1000 and code < 3000:
        protocol.sendCloseFrame(code=code)
    else:
        await send({"type": "websocket.close", "code": code})


def inflow(send: Send, receive: Receive, max_size: int) -> Receive:
    """A ``receive`` in place of ``receive`` that bounds what a connection may have the process hold: some messages of
    about ``max_size`` bytes. What is longer by far, or in too many pieces, ends the connection with 1009 before it is
    whole."""
    protocol = _daphne_protocol(send)
    if protocol is not None and hasattr(protocol, "application_queue") and hasattr(protocol, "onMessageFrameBegin"):
        return _inflow_of_daphne(protocol, receive, max_size)
    _count_pieces_of_uvicorn(getattr(send, "__self__", None))
    return receive


def _inflow_of_daphne(protocol: Any, receive: Receive, max_size: int) -> Receive:
    queue = protocol.application_queue
    limit = TOLERANCE * max_size
    on_message, on_frame = protocol.onMessage, protocol.onMessageFrameBegin
    paused = False
    pieces = 0

    def note_message(payload: bytes, is_binary: bool) -> None:
        nonlocal paused, pieces
        pieces = 0
        on_message(payload, is_binary)
        if not paused and queue.qsize() >= WAITING and protocol.transport is not None:
            paused = True
            protocol.transport.pauseProducing()

    def note_frame(length: int) -> None:
        nonlocal pieces
        pieces += 1
        on_frame(length)
        size = protocol.message_data_total_length
        if (size > limit or pieces > PIECES) and not protocol.failedByMe:
            protocol._max_message_size_exceeded(size, limit, TOO_LARGE)

    async def next_event() -> dict[str, Any]:
        nonlocal paused
        event = await receive()
        if paused and queue.empty():
            paused = False
            if protocol.transport is not None:
                protocol.transport.resumeProducing()
        return event

    protocol.onMessage, protocol.onMessageFrameBegin = note_message, note_frame
    protocol.failByDrop = False
    return next_event


def _count_pieces_of_uvicorn(protocol: Any) -> None:
    """Empty pieces do not count for ``--ws-max-size``, and each is kept until the message is whole."""
    if not all(hasattr(protocol, name) for name in ("frames", "conn", "handle_cont", "handle_parser_exception")):
        return
    on_piece = protocol.handle_cont

    def note_piece(event: Any) -> None:
        if protocol.close_sent:
            return
        on_piece(event)
        if len(protocol.frames) > PIECES:
            protocol.frames = []
            protocol.conn.fail(1009, TOO_LARGE)
            protocol.handle_parser_exception()

    protocol.handle_cont = note_piece


def _daphne_protocol(send: Send) -> Any | None:
    if not isinstance(send, partial) or not send.args:
        return None
    protocol = send.args[0]
    return protocol if hasattr(protocol, "sendCloseFrame") and hasattr(protocol, "transport") else None


def direct(send: Send) -> Callable[[bytes], None] | None:
    """A function that writes a ``text_frame`` to the socket behind an ASGI ``send``; ``None`` where that can't be.

    It never waits and raises ``Gone``. It may be used in turns with ``send``; the order is kept.
    """
    protocol = _daphne_protocol(send)
    if protocol is None or not _is_plain(protocol):
        return None

    def write(frame: bytes) -> None:
        transport = protocol.transport
        if transport is None or protocol.state != protocol.STATE_OPEN:
            raise Gone
        if transport._tempDataLen or transport.dataBuffer or not transport.connected:
            transport.write(frame)  # behind what waits
            return
        written = transport.writeSomeData(frame)
        if not isinstance(written, int):
            written = 0  # the connection is lost, as the reactor will find out and tell everybody
        if written < len(frame):
            transport.write(frame[written:])

    return write


def text_frame(text: str) -> bytes:
    """A message as a server's unmasked, unfragmented frame (RFC 6455 section 5.2)."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _is_plain(protocol: Any) -> bool:
    """Whether frames go to the socket as they are: a TCP or Unix socket, no TLS, no compression."""
    from twisted.internet.tcp import Connection

    # Not hasattr(): Twisted's TLS wrapper passes on the attributes of the socket that it encrypts for.
    transport = protocol.transport
    return (
        isinstance(transport, Connection)
        and not transport.TLS
        and hasattr(protocol, "STATE_OPEN")
        and getattr(protocol, "_perMessageCompress", None) is None
    )
