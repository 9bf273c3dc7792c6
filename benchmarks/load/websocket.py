"""The client's side of RFC 6455, as much as a load generator needs."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Mapping

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
#: Bytes of one read. Larger buffers cost more to allocate than they save.
READ_SIZE = 65536


class Refused(Exception):
    """The server answered the handshake with something else than 101, or closed the socket."""


def connect(port: int, path: str, headers: Mapping[str, str]) -> tuple[socket.socket, bytes]:
    """A socket after the opening handshake, and what came after the server's headers."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = connection.recv(READ_SIZE)
        if not data:
            raise Refused(f"closed during the handshake: {answer[:200]!r}")
        answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise Refused(head.split(b"\r\n")[0].decode())
    return connection, rest


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame of a client. The mask is zero, which costs the server as much as any other."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def split(data: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """The whole frames in ``data`` as (opcode, start, end) of their payloads, and where the first partial one begins.

    Servers send these messages in one frame each; fragments are not put together.
    """
    frames = []
    position, end = 0, len(data)
    while end - position >= 2:
        size = data[position + 1]
        start = position + 2
        if size == 126:
            if end - position < 4:
                break
            size = data[position + 2] << 8 | data[position + 3]
            start = position + 4
        elif size == 127:
            if end - position < 10:
                break
            size = int.from_bytes(data[position + 2 : position + 10], "big")
            start = position + 10
        if start + size > end:
            break
        frames.append((data[position] & 15, start, start + size))
        position = start + size
    return frames, position
