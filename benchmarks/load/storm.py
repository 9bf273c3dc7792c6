"""A reconnect storm: everybody comes back in the same moment, and asks for what was said meanwhile."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import time
from typing import Any

from benchmarks.load import websocket
from benchmarks.load.dialects import Dialect, Seat
from benchmarks.load.window import cpu_seconds

#: Seconds after which the storm must be over.
PATIENCE = 120.0


class _Comer:
    """One client on its way: the handshake, the greeting, then pages of a sync."""

    def __init__(self, seat: Seat, port: int, dialect: Dialect, cursor: int) -> None:
        path, headers = dialect.request(seat, port)
        self.socket = socket.socket()
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.socket.connect(("127.0.0.1", port))
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

    def begin(self) -> None:
        """The connection stands."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise websocket.Refused(os.strerror(error))
        self.socket.send(self._hello)

    def take(self, data: bytes) -> None:
        """Bytes of the server's."""
        if not data:
            raise websocket.Refused("the server closed a connection")
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
    by_fd = {comer.socket.fileno(): comer for comer in comers}
    for fd in by_fd:
        poll.register(fd, select.EPOLLOUT)
    missing = len(comers)
    while missing:
        if time.monotonic() - began > PATIENCE:
            raise websocket.Refused(f"{missing} of {len(comers)} have not synced after {PATIENCE:.0f} s")
        for fd, event in poll.poll(1.0, 1024):
            comer = by_fd[fd]
            if event & select.EPOLLOUT:
                comer.begin()
                poll.modify(fd, select.EPOLLIN)
                continue
            was_done = comer.is_done
            comer.take(comer.socket.recv(websocket.READ_SIZE))
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
    }
