"""All clients of a load, and the loop that reads for them."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from benchmarks.load import websocket
from benchmarks.load.dialects import Dialect, Seat

#: Seconds without any progress after which a load gives up.
STALL = 15.0


class Client:
    """One socket."""

    __slots__ = ("position", "rest", "room", "seat", "socket")

    def __init__(self, seat: Seat, room: int, position: int, connection: socket.socket, rest: bytes) -> None:
        self.seat = seat
        #: Which room it is in, and which of the room's clients it is.
        self.room, self.position = room, position
        self.socket = connection
        self.rest = rest

    def send(self, frame: bytes) -> None:
        """Sends a frame that the socket's buffer must have room for."""
        if self.socket.send(frame) != len(frame):
            raise websocket.Refused("the server does not read")

    def take(self, data: bytes) -> list[bytes]:
        """The payloads of the text frames that ``data`` completes."""
        if self.rest:
            data = self.rest + data
        frames, position = websocket.split(data)
        self.rest = data[position:]
        texts = []
        for opcode, start, end in frames:
            if opcode == websocket.TEXT:
                texts.append(data[start:end])
            elif opcode == websocket.PING:
                self.send(websocket.client_frame(data[start:end], websocket.PONG))
            elif opcode == websocket.CLOSE:
                raise websocket.Refused(f"the server closed a socket: {data[start:end]!r}")
        return texts


class Fleet:
    """Connected clients, room after room; the people of a room in turn on each of the server's nodes."""

    def __init__(self, dialect: Dialect, ports: list[int], rooms: list[list[Seat]]) -> None:
        self.dialect = dialect
        self.ports = ports
        self.patience = STALL
        self.rooms: list[list[Client]] = []
        self._by_fd: dict[int, Client] = {}
        self._epoll = select.epoll()
        for number, seats in enumerate(rooms):
            self.rooms.append([self._open(seat, number, position) for position, seat in enumerate(seats)])

    @property
    def clients(self) -> list[Client]:
        """All clients."""
        return list(self._by_fd.values())

    def _open(self, seat: Seat, room: int, position: int) -> Client:
        port = self.ports[position % len(self.ports)]
        path, headers = self.dialect.request(seat, port)
        connection, rest = websocket.connect(port, path, headers)
        client = Client(seat, room, position, connection, rest)
        greeted = bool(client.take(b"")) or not self.dialect.greets
        while not greeted:
            data = connection.recv(websocket.READ_SIZE)
            if not data:
                raise websocket.Refused("closed before the greeting")
            greeted = bool(client.take(data))
        connection.setblocking(False)
        self._epoll.register(connection, select.EPOLLIN)
        self._by_fd[connection.fileno()] = client
        return client

    def run(
        self, on_texts: Callable[[Client, list[bytes]], Any], until: Callable[[], bool], timeout: float = 0.05
    ) -> None:
        """Reads for all clients until ``until`` says so, which is asked after each turn or ``timeout`` seconds."""
        poll, by_fd, size = self._epoll.poll, self._by_fd, websocket.READ_SIZE
        progress = time.monotonic()
        while not until():
            events = poll(timeout, 1024)
            if not events:
                if time.monotonic() - progress > self.patience:
                    raise websocket.Refused(f"nothing came for {STALL:.0f} s")
                continue
            for fd, _ in events:
                client = by_fd[fd]
                data = client.socket.recv(size)
                if not data:
                    raise websocket.Refused("the server closed a connection")
                texts = client.take(data)
                if texts:
                    on_texts(client, texts)
            progress = time.monotonic()

    def settle(self, quiet: float = 0.3) -> None:
        """Reads and drops what still comes, until nothing has come for ``quiet`` seconds."""
        last = time.monotonic()

        def note(client: Client, texts: list[bytes]) -> None:
            nonlocal last
            last = time.monotonic()

        limit = last + 10
        self.run(note, lambda: time.monotonic() - last > quiet or time.monotonic() > limit)

    def close(self) -> None:
        """Closes all sockets politely."""
        for client in self._by_fd.values():
            with contextlib.suppress(OSError, websocket.Refused):
                client.send(websocket.client_frame(b"\x03\xe8", websocket.CLOSE))
            client.socket.close()
        self._epoll.close()
