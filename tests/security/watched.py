"""``watched:application``: the demo's, with a page that tells what lives in the process; and what serves it.

The page is for tests of what is left behind; no project has it.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.support.server import COMMANDS, Server

OURS = ("mana.", "mana_rtc.")
PAGE = "/what-lives"
#: What makes up a connection; when all are closed, none of it may be left.
OF_CONNECTIONS = {
    "mana.realtime.consumer.ManaConsumer",
    "mana.realtime.session.Session",
    "mana.realtime.identity.Handshake",
    "mana.realtime.identity.Identity",
    "mana.realtime.identity.Refused",
    "mana.protocol.errors.ManaError",
    "mana.messaging.drafts.Draft",
    "mana_rtc.seats.Seat",
}


def commands() -> None:
    """Adds ``watched daphne`` and ``watched uvicorn`` to the kinds of servers that tests start."""
    for kind in ("daphne", "uvicorn"):
        command = [part.replace("demo_project.asgi", "tests.security.watched") for part in COMMANDS[kind]]
        COMMANDS[f"watched {kind}"] = command


def what_lives(server: Server) -> dict[str, Any]:
    """The numbers of the server's page."""
    return dict(httpx.get(f"{server.http}{PAGE}", timeout=60).raise_for_status().json())


class Memory:
    """A process's memory in bytes, as Linux counts it."""

    def __init__(self, server: Server) -> None:
        assert server.process is not None
        self._folder = Path("/proc") / str(server.process.pid)

    def forget_peak(self) -> None:
        """Begins to count the peak anew."""
        (self._folder / "clear_refs").write_text("5")

    @property
    def now(self) -> int:
        """What is resident."""
        return self._value("VmRSS")

    @property
    def peak(self) -> int:
        """The most that was resident."""
        return self._value("VmHWM")

    @property
    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(list((self._folder / "fd").iterdir()))

    def _value(self, name: str) -> int:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"Linux tells nothing of {name}.")


def _numbers() -> dict[str, Any]:
    from mana.observability.figures import figures
    from mana.realtime import hub as hubs

    gc.collect()
    objects = gc.get_objects()
    kinds = (f"{type(one).__module__}.{type(one).__qualname__}" for one in objects)
    ours = Counter(kind for kind in kinds if kind.startswith(OURS))
    (hub,) = hubs.running() or [None]
    return {
        "of_connections": {name: count for name, count in ours.items() if name in OF_CONNECTIONS},
        "ours": ours,
        "all": len(objects),
        "tasks": len(asyncio.all_tasks()),
        "sessions": figures().sessions,
        "rooms": figures().rooms,
        "users": figures().users,
        "addresses": len(hub.admission._connections) if hub is not None else 0,
    }


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] == "http" and scope["path"] == PAGE:
        body = json.dumps(_numbers()).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})
        return
    from demo_project.asgi import application as served

    await served(scope, receive, send)


commands()
