"""A person with a WebSocket client, as plain as can be: an independent library and the frames of the protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, ClassVar
from uuid import uuid4

import httpx
import websockets

from tests.support.server import Server

TIMEOUT = 10


class Refused(Exception):
    """The server answered with an ``error`` frame."""

    def __init__(self, frame: dict[str, Any]) -> None:
        self.frame = frame
        super().__init__(f"{frame['code']}: {frame['error']}")


class Account:
    """A registered user and their REST session, which ``tests.conftest`` closes after the test."""

    opened: ClassVar[list[httpx.Client]] = []

    def __init__(self, server: Server, username: str | None = None) -> None:
        self.server = server
        self.username = username or f"user-{uuid4().hex[:10]}"
        self.password = f"pass-{uuid4().hex}"
        # Loading the certificates of all authorities takes longer than everything else here, and there is no TLS.
        self.http = httpx.Client(base_url=server.http, timeout=30, verify=False)
        self.opened.append(self.http)
        made = self.http.post("/api/auth/register", json={"username": self.username, "password": self.password})
        assert made.status_code == 201, made.text
        body = made.json()
        self.id: str = body["user"]["id"]
        self.access: str = body["access"]
        self.refresh: str = body["refresh"]
        self.http.headers["Authorization"] = f"Bearer {self.access}"

    def get(self, path: str, **query: Any) -> Any:
        """The body of a successful GET."""
        return self._body(self.http.get(f"/api/{path}", params=query))

    def post(self, path: str, **body: Any) -> Any:
        """The body of a successful POST."""
        return self._body(self.http.post(f"/api/{path}", json=body))

    def _body(self, response: httpx.Response) -> Any:
        assert response.status_code < 300, f"{response.status_code}: {response.text}"
        return response.json() if response.content else None

    def sign_in_again(self) -> str:
        """The access token of another sign-in."""
        return str(self.post("auth/token", username=self.username, password=self.password)["access"])

    def room(self, *members: Account, **options: Any) -> str:
        """The id of a new group with these members."""
        return str(self.post("rooms", name="A room", members=[one.id for one in members], **options)["id"])

    def socket(self, *, arrays: bool = False, **query: str) -> Socket:
        """A socket of this user, to be used with ``async with``."""
        return Socket(self.server, arrays=arrays, headers={"Authorization": f"Bearer {self.access}"}, **query)


class Socket:
    """A WebSocket connection that keeps what it receives until somebody asks for it."""

    def __init__(
        self,
        server: Server,
        *,
        arrays: bool = False,
        headers: dict[str, str] | None = None,
        subprotocols: list[str] | None = None,
        **query: str,
    ) -> None:
        self._url = str(httpx.URL(server.ws, params=query))
        self._subprotocols = subprotocols or (["mana.v1"] if arrays else None)
        self._headers = headers
        self._numbers = itertools.count(1)
        self._inbox: list[dict[str, Any]] = []
        self.welcome: dict[str, Any] = {}
        #: Everything that was received, in order.
        self.received: list[dict[str, Any]] = []

    async def __aenter__(self) -> Socket:
        await self.connect()
        self.welcome = await self.expect("welcome")
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.connection.close()

    async def connect(self) -> None:
        """Opens the connection; the first frame is still to come."""
        self.connection = await websockets.connect(
            self._url,
            additional_headers=self._headers,
            subprotocols=self._subprotocols,  # type: ignore[arg-type]
            max_size=2**21,
            max_queue=None,
            open_timeout=TIMEOUT,
        )

    async def send(self, type: str, **frame: Any) -> None:
        """Sends a frame."""
        await self.connection.send(json.dumps({"type": type, **frame}))

    async def request(self, type: str, **frame: Any) -> dict[str, Any]:
        """Sends a frame with an ``ack_id`` and waits for its answer. Raises ``Refused``."""
        frame.setdefault("ack_id", f"{id(self):x}-{next(self._numbers)}-{uuid4().hex[:8]}")
        await self.send(type, **frame)
        answer = await self.expect(ack_id=frame["ack_id"])
        if answer["type"] == "error":
            raise Refused(answer)
        return answer

    async def refusal(self, type: str, **frame: Any) -> dict[str, Any]:
        """Sends a frame that must be refused; the ``error`` frame."""
        try:
            answer = await self.request(type, **frame)
        except Refused as refused:
            return refused.frame
        raise AssertionError(f"{type} was not refused but answered with {answer}")

    async def expect(self, type: str | None = None, **fields: Any) -> dict[str, Any]:
        """The next frame of a type with these fields; frames before it are kept for others."""
        position = 0
        while True:
            while position >= len(self._inbox):
                await self._receive()
            frame = self._inbox[position]
            if type in (None, frame["type"]) and all(frame.get(name) == value for name, value in fields.items()):
                return self._inbox.pop(position)
            position += 1

    async def error(self) -> dict[str, Any]:
        """The next ``error`` frame."""
        return await self.expect("error")

    async def closed(self) -> int:
        """Reads to the end; the close code."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    await self._receive()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    async def silence(self) -> list[dict[str, Any]]:
        """All that was kept, after everything that the server sent before its answer to a ping."""
        await self.request("ping")
        kept, self._inbox = self._inbox, []
        return kept

    async def _receive(self) -> None:
        text = await asyncio.wait_for(self.connection.recv(), TIMEOUT)
        frames = json.loads(text)
        for frame in frames if isinstance(frames, list) else [frames]:
            self._inbox.append(frame)
            self.received.append(frame)
