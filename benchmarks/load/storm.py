"""A reconnect storm: everybody comes back within a second, and asks for what was said meanwhile.

Whoever is turned away or dropped tries again, as the clients that ship do: daphne ends what has not shaken hands after
five seconds.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import select
import socket
import time
from typing import Any

from benchmarks.load import websocket
from benchmarks.load.dialects import Dialect, Seat
from benchmarks.load.window import cpu_seconds

#: Seconds after which the storm must be over.
PATIENCE = 120.0
#: Seconds within which everybody comes, and within which those come again who were dropped.
SPREAD = 1.0


class _Comer:
    """One client on its way: the handshake, the greeting, then pages of a sync."""

    def __init__(self, seat: Seat, port: int, dialect: Dialect, cursor: int) -> None:
        path, headers = dialect.request(seat, port)
        self._port = port
        self.socket: socket.socket
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._hello = "\r\n".join([*lines, "", ""]).encode()
        self._cursor = cursor
        self._rest = b""
        self._is_upgraded = False
        self.got: list[tuple[str, int]] = []
        self.is_done = False
        #: When to connect, by the monotonic clock.
        self.comes = time.monotonic() + random.uniform(0, SPREAD)

    def connect(self) -> None:
        """Begins to connect, from the start."""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self._rest, self._is_upgraded, self.got = b"", False, []
        with contextlib.suppress(BlockingIOError):
            self.socket.connect(("127.0.0.1", self._port))

    def drop(self) -> None:
        """The connection was lost; another one follows."""
        self.socket.close()
        self.comes = time.monotonic() + random.uniform(0, SPREAD)

    def begin(self) -> None:
        """The connection stands. Raises ``OSError`` if it does not."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self.socket.send(self._hello)

    def take(self, data: bytes) -> None:
        """Bytes of the server's."""
        if not data:
            raise ConnectionResetError("the server closed a connection")
        data = self._rest + data
        if not self._is_upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise websocket.Refused(head.split(b"\r\n")[0].decode())
            self._is_upgraded = True
        frames, position = websocket.split(data)
        self._rest = data[position:]
        for opcode, start, end in frames:
            if opcode == websocket.CLOSE:
                raise websocket.Refused(f"the server closed a socket: {data[start:end]!r}")
            if opcode == websocket.PING:
                self.socket.send(websocket.client_frame(data[start:end], websocket.PONG))
            if opcode == websocket.TEXT:
                content = json.loads(data[start:end])
                for frame in content if isinstance(content, list) else [content]:
                    self._heed(frame)

    def _heed(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                self._ask(self._cursor)
            case "message_sync":
                self.got += [(one["room_id"], one["index"]) for one in frame["messages"] if one["type"] == "message"]
                if frame["has_more"]:
                    self._ask(frame["cursor"])
                else:
                    self.is_done = True
            case "error":
                raise websocket.Refused(f"the server refuses: {frame}")

    def _ask(self, cursor: int) -> None:
        request = {"type": "sync_request", "cursor": cursor}
        self.socket.send(websocket.client_frame(json.dumps(request).encode()))


def storm(
    dialect: Dialect, ports: list[int], pids: list[int], rooms: list[list[Seat]], *, cursor: int, behind: int
) -> dict[str, float]:
    """Seconds until all have synced from ``cursor``, each the ``behind`` messages of their room, once and in order."""
    people = [(seat, ports[position % len(ports)]) for seats in rooms for position, seat in enumerate(seats)]
    server, own, began = sum(map(cpu_seconds, pids)), time.process_time(), time.monotonic()
    poll = select.epoll()
    comers = [_Comer(seat, port, dialect, cursor) for seat, port in people]
    coming, by_fd = comers, {}
    missing, dropped, reason = len(comers), 0, ""
    while missing:
        now = time.monotonic()
        if now - began > PATIENCE:
            raise websocket.Refused(
                f"{missing} have not synced after {PATIENCE:.0f} s; {dropped} drops, last: {reason}"
            )
        for comer in coming:
            if comer.comes <= now:
                comer.connect()
                by_fd[comer.socket.fileno()] = comer
                poll.register(comer.socket, select.EPOLLOUT)
        coming = [comer for comer in coming if comer.comes > now]
        for fd, event in poll.poll(0.01 if coming else 1.0, 1024):
            comer = by_fd[fd]
            was_done = comer.is_done
            try:
                if event & select.EPOLLOUT:
                    comer.begin()
                    poll.modify(fd, select.EPOLLIN)
                else:
                    comer.take(comer.socket.recv(websocket.READ_SIZE))
            except (OSError, websocket.Refused) as error:
                if was_done:
                    raise websocket.Refused(f"somebody who had synced was dropped: {error}") from None
                reason = str(error)
                comer.drop()  # which takes it out of the poll, too
                coming.append(comer)
                dropped += 1
            missing -= comer.is_done and not was_done
    elapsed = time.monotonic() - began
    used = sum(map(cpu_seconds, pids)) - server
    for comer, (seat, _) in zip(comers, people, strict=True):
        indexes = [index for room, index in comer.got if room == seat.room]
        whole = len(indexes) == behind and indexes == list(range(indexes[0], indexes[0] + behind))
        if not whole or len(comer.got) != behind:
            raise websocket.Refused(f"not what was missed: {comer.got}")
        comer.socket.close()
    return {
        "seconds": elapsed,
        "server_cpu": used / elapsed,
        "load_cpu": (time.process_time() - own) / elapsed,
        "per_second": len(comers) / elapsed,
        "dropped": dropped,
    }
