"""People who chat through a proxy while nodes die: ``python chat.py http://127.0.0.1:8080 SIGNAL_FILE``.

Each person sends one message after another, and keeps what was acked. Who loses the socket comes back, sends again what
was not acked, with the same ``ack_id``, and goes on. Begun sending, it writes ``SIGNAL_FILE``; when that is gone, it
stops, and compares what was acked with what is stored. Exit code 0 if nothing is lost or doubled.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import websockets

PEOPLE = 6


def rest(base: str, path: str, body: Any = None, token: str = "") -> Any:
    """The answer of the REST API."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{base}/api/{path}", data, headers), timeout=20) as answer:
        return json.loads(answer.read() or b"null")


class Person:
    """Somebody who writes, whatever happens to the socket."""

    def __init__(self, base: str) -> None:
        self.base = base
        made = rest(base, "auth/register", {"username": f"p-{secrets.token_hex(6)}", "password": secrets.token_hex(12)})
        self.id, self.token = made["user"]["id"], made["access"]
        self.acked: dict[str, int] = {}
        self.seen: dict[int, str] = {}
        self.lost_sockets = 0
        self.longest_pause = 0.0

    async def chat(self, room: str, going: asyncio.Event) -> None:
        """Sends until ``going`` is cleared, and the last message is acked."""
        number, last = 0, time.monotonic()
        while going.is_set():
            try:
                async with await self.connect() as socket:
                    await self.catch_up(socket)
                    while going.is_set():
                        text = f"{self.id}-{number}"
                        await socket.send(
                            json.dumps({"type": "message", "room_id": room, "payload": text, "ack_id": text})
                        )
                        frame = await self.receive_until(socket, text)
                        if frame["type"] == "error":  # as when the database is away
                            await asyncio.sleep(frame.get("retry_after") or 0.2)
                            continue
                        self.acked[text] = frame["sequence"]
                        self.longest_pause = max(self.longest_pause, time.monotonic() - last)
                        last = time.monotonic()
                        number += 1
            except (OSError, TimeoutError, websockets.WebSocketException):
                self.lost_sockets += 1
                await asyncio.sleep(0.1)

    async def connect(self) -> websockets.ClientConnection:
        """A socket, opened with a one-use ticket as a browser would."""
        ticket = (await asyncio.to_thread(rest, self.base, "auth/ticket", {}, self.token))["ticket"]
        url = f"{self.base.replace('http', 'ws', 1)}/ws?ticket={ticket}&device_id=demo"
        return await websockets.connect(url, open_timeout=10)

    async def catch_up(self, socket: websockets.ClientConnection) -> None:
        """Asks for what happened since the last message seen."""
        cursor, more = max(self.seen, default=0), True
        while more:
            await socket.send(json.dumps({"type": "sync_request", "cursor": cursor, "limit": 500}))
            while (frame := await self.receive(socket))["type"] != "message_sync":
                pass
            cursor, more = frame["cursor"], frame["has_more"]
            for message in frame["messages"]:
                self.note(message)

    async def receive_until(self, socket: websockets.ClientConnection, ack_id: str) -> dict[str, Any]:
        """The answer to a frame; messages of others are noted on the way."""
        while (frame := await self.receive(socket)).get("ack_id") != ack_id or frame["type"] not in ("ack", "error"):
            pass
        return frame

    async def receive(self, socket: websockets.ClientConnection) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 15))
        self.note(frame)
        return frame

    def note(self, frame: dict[str, Any]) -> None:
        """Keeps a message by its place in the order."""
        if frame["type"] == "message":
            self.seen[frame["sequence"]] = frame["payload"]


def stored(base: str, room: str, token: str) -> list[tuple[int, str]]:
    """Every message of a room, from the database."""
    found: list[tuple[int, str]] = []
    after = 0
    while True:
        page = rest(base, f"rooms/{room}/messages?after={after}&limit=200", token=token)["results"]
        if not page:
            return found
        after = max(message["index"] for message in page)
        found += [(one["sequence"], one["payload"]) for one in page if one["type"] == "message"]


async def main(base: str, signal: Path) -> int:
    """0 if nothing is lost."""
    people = [await asyncio.to_thread(Person, base) for _ in range(PEOPLE)]
    made = rest(base, "rooms", {"name": "demo", "members": [one.id for one in people]}, people[0].token)
    going = asyncio.Event()
    going.set()
    chatting = [asyncio.create_task(one.chat(made["id"], going)) for one in people]
    while min(len(one.acked) for one in people) < 5:
        await asyncio.sleep(0.05)
    signal.touch()
    while signal.exists():
        await asyncio.sleep(0.1)
    going.clear()
    await asyncio.gather(*chatting)

    rows = await asyncio.to_thread(stored, base, made["id"], people[0].token)
    texts = [text for _, text in rows]
    acked = {text: sequence for one in people for text, sequence in one.acked.items()}
    lost = [text for text, sequence in acked.items() if (sequence, text) not in set(rows)]
    doubled = len(texts) - len(set(texts))
    wrong = sum(1 for one in people for sequence, text in one.seen.items() if (sequence, text) not in set(rows))
    disordered = [sequence for sequence, _ in rows] != sorted(sequence for sequence, _ in rows)
    print(f"  {PEOPLE} people, {len(acked)} messages acked, {len(rows)} stored")
    print(f"  lost {len(lost)}, doubled {doubled}, received but not stored {wrong}, out of order {int(disordered)}")
    print(f"  sockets lost and reopened {sum(one.lost_sockets for one in people)}, ", end="")
    print(f"longest time without an ack {max(one.longest_pause for one in people):.1f} s")
    return 1 if lost or doubled or wrong or disordered else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))))
