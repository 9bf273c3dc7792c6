"""Generated frames close no session, log no traceback and reach nobody who is not meant.

``MANA_FUZZ_FRAMES`` is how many; the long round has 100,000 or more.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.security.frames import Frames
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

FRAMES = int(os.environ.get("MANA_FUZZ_FRAMES", "4000"))
SESSIONS = 4
#: Frames that a session sends before it waits for the answer to a ping.
ROUND = 50
CANARY = "canary-3f1c7a"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A node that answers as fast as it can."""
    limits = {
        f"MANA_{name}": "100000000"
        for name in (
            *("RATE_LIMIT_PER_SECOND", "RATE_LIMIT_BURST", "USER_RATE_LIMIT_PER_SECOND", "USER_RATE_LIMIT_BURST"),
            "FLOOD_TOLERANCE",
        )
    }
    with databases.fresh("sqlite") as url, serving(url, **limits) as running:
        yield running


async def test_generated_frames_are_answered_and_the_sessions_go_on(server: Server) -> None:
    mallory, alice, bob = Account(server), Account(server), Account(server)
    secret = alice.room(bob)
    message = alice.post(f"rooms/{secret}/messages", payload=CANARY)
    own = mallory.room()
    known = [secret, own, mallory.id, alice.id, bob.id, message["id"]]
    answers: Counter[str] = Counter()
    async with alice.socket() as watching:
        for number in range(SESSIONS):
            async with mallory.socket() as socket:
                answers += await _fuzz(socket, Frames(number, known), FRAMES // SESSIONS)
        heard = await watching.silence()
    assert CANARY not in json.dumps(answers), "what is said in a room leaked"
    strangers = [frame for frame in heard if mallory.id in (frame.get("from"), frame.get("user_id"))]
    assert not [frame for frame in strangers if frame.get("room_id") == secret], "somebody else got into a room"
    assert "Traceback" not in server.log, server.log[-5000:]
    assert answers["internal"] == 0
    assert answers["unavailable"] == 0
    stored = alice.get(f"rooms/{secret}/messages")["results"]
    assert [event["payload"] for event in stored if event["type"] == "message"] == [CANARY]


async def _fuzz(socket: Socket, frames: Frames, count: int) -> Counter[str]:
    """Sends frames; how they were answered, by error code or type."""
    answers: Counter[str] = Counter()
    for start in range(0, count, ROUND):
        for _ in range(min(ROUND, count - start)):
            await socket.connection.send(frames.one())
        async with asyncio.timeout(60):
            for frame in await socket.silence():
                assert CANARY not in json.dumps(frame), frame
                answers[frame.get("code") or frame["type"]] += 1
        socket.received.clear()
    return answers
