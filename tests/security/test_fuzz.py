"""Generated frames close no session, log no traceback, reach nobody who is not meant, and leave nothing behind.

``MANA_FUZZ_FRAMES`` is how many each of the three generators makes; the long round has 40,000 or more. What Hypothesis
finds it prints as the smallest frames that do it: add them to ``FOUND``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rtc.media.sdps import CHROMIUM_OFFER
from tests.security.frames import Frames, Mutations, Source, frames
from tests.security.people import LIMITS
from tests.security.watched import what_lives
from tests.support import databases
from tests.support.client import TIMEOUT, Account, Socket
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

FRAMES = int(os.environ.get("MANA_FUZZ_FRAMES", "3000"))
SESSIONS = 4
#: Frames that a session sends before it waits for the answer to a ping.
ROUND = 50
CANARY = "canary-3f1c7a"

#: Frames that once did harm, and what they are answered with.
FOUND: list[tuple[str | bytes, str]] = [
    # Binary messages that are no UTF-8 where the decoder has no need to look.
    (b'{"type":1,"x":"\xf4"}', "invalid_json"),
    (b'{"type":"join","room_id":7,"ack_id":"\xff"}', "invalid_json"),
    (b'{"type":"message","room_id":"x","payload":"\xff"}', "invalid_json"),
    (b'{"type":"message_edit","message_id":"x","payload":{"\xff":1}}', "invalid_json"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A node that answers as fast as it can, and soon forgets who is gone."""
    quick = {
        **LIMITS,
        "MANA_PRESENCE_GRACE": "0.1",
        "MANA_RTC_RESUME_TIMEOUT": "0.5",
        "MANA_RTC_ADDRESSES": "127.0.0.1",
    }
    with databases.fresh("sqlite") as url, serving(url, kind="watched daphne", **quick) as running:
        yield running
        assert "Traceback" not in running.log, running.log[-5000:]


class Scene:
    """Somebody who sends nonsense, and two people who have a secret."""

    def __init__(self, server: Server) -> None:
        self.mallory, self.alice, bob = Account(server), Account(server), Account(server)
        self.secret = self.alice.room(bob)
        message = self.alice.post(f"rooms/{self.secret}/messages", payload=CANARY)
        self.own = self.mallory.room()
        self.message = self.mallory.post(f"rooms/{self.own}/messages", payload="x")["id"]
        self.known = [self.secret, self.own, self.mallory.id, self.alice.id, bob.id, message["id"], self.message]

    def right(self) -> list[dict[str, Any]]:
        """Frames as they should be, of the sender's own room and of the others'."""
        about = [
            {"type": kind, "room_id": room, **more}
            for room in (self.own, self.secret)
            for kind, more in (
                ("join", {}),
                ("message", {"payload": {"text": "hello", "n": [1, 2]}, "ack_id": "x", "mentions": [self.alice.id]}),
                ("typing", {"payload": True}),
                ("receipt", {"sequence": 1, "status": "read"}),
                ("history", {"before": 5, "limit": 2}),
                ("ready", {"payload": None}),
                ("sfu_offer", {"sdp": CHROMIUM_OFFER, "payload": {"sources": {"0": "camera"}}}),
                ("sfu_answer", {"sdp": CHROMIUM_OFFER, "payload": {"number": 1}}),
                ("sfu_candidate", {"candidate": {"candidate": "x"}}),
                ("subscribe", {"payload": {"tracks": {"x": {"enabled": True}}}}),
                ("ice_restart", {}),
                ("network_change", {}),
                ("call_key", {"call_id": "c", "payloads": {"x": {"phone": "AAAA"}}}),
                ("mute", {"payload": True}),
                ("leave", {}),
            )
        ]
        return [
            *about,
            {"type": "ping", "ack_id": "1"},
            {"type": "auth", "token": "eyJhbGciOiJIUzI1NiJ9.e30.x"},
            {"type": "sync_request", "cursor": 0, "limit": 10},
            {"type": "message", "to": self.alice.id, "payload": 1},
            {"type": "message_edit", "message_id": self.message, "payload": 2},
            {"type": "message_delete", "message_id": self.known[5], "scope": "me"},
            {"type": "reaction", "message_id": self.message, "emoji": "👍"},
            {"type": "call_start", "to": self.alice.id, "payload": {}},
            {"type": "encrypted_fanout", "to": self.alice.id, "payloads": {"d": {}}, "epochs": {"d": 1}},
            {"type": "get_prekey_bundle", "to": self.alice.id, "device_id": "d"},
        ]

    def check(self, server: Server, answers: Counter[str], heard: list[dict[str, Any]]) -> None:
        """Nothing of the secret got out, nobody got into its room, and nothing failed inside."""
        strangers = [frame for frame in heard if self.mallory.id in (frame.get("from"), frame.get("user_id"))]
        assert not [frame for frame in strangers if frame.get("room_id") == self.secret], (
            "somebody else got into a room"
        )
        assert "Traceback" not in server.log, server.log[-5000:]
        assert answers["internal"] == 0
        assert answers["unavailable"] == 0
        url = f"{server.http}/api/rooms/{self.secret}/messages"
        stored = httpx.get(url, headers={"Authorization": f"Bearer {self.alice.access}"}).json()["results"]
        assert [event["payload"] for event in stored if event["type"] == "message"] == [CANARY]


@pytest.fixture(scope="module")
def scene(server: Server) -> Scene:
    return Scene(server)


@pytest.mark.parametrize("kind", [Frames, Mutations])
async def test_generated_frames_are_answered_and_the_sessions_go_on(
    server: Server, scene: Scene, kind: type[Frames] | type[Mutations]
) -> None:
    answers: Counter[str] = Counter()
    async with scene.alice.socket() as watching:
        for number in range(SESSIONS):
            source = Frames(number, scene.known) if kind is Frames else Mutations(number, scene.right())
            async with scene.mallory.socket() as socket:
                answers += await _fuzz(socket, source, FRAMES // SESSIONS)
        heard = await watching.silence()
    print(f"{FRAMES} frames of {kind.__name__}: {dict(answers.most_common())}")
    assert CANARY not in json.dumps(answers), "what is said in a room leaked"
    scene.check(server, answers, heard)
    assert len(answers) > 8, f"These frames reach little: {answers}"


def test_frames_of_hypothesis_are_answered_and_the_session_goes_on(server: Server, scene: Scene) -> None:
    answers: Counter[str] = Counter()
    numbers = count()
    # Hypothesis calls plain functions: the socket lives in a loop of its own between them.
    with asyncio.Runner() as runner:
        socket = scene.mallory.socket()
        runner.run(socket.__aenter__())

        @settings(
            max_examples=max(10, FRAMES // 20),
            deadline=None,
            database=None,
            derandomize="MANA_FUZZ_FRAMES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(frames(scene.known), min_size=10, max_size=40))
        def run(texts: list[str]) -> None:
            found = runner.run(_send(socket, texts))
            for _ in texts:
                next(numbers)
            assert not found.keys() & {"internal", "unavailable"}, found
            answers.update(found)

        run()
        runner.run(socket.__aexit__())
    sent = next(numbers)
    print(f"{sent} frames of Hypothesis: {dict(answers.most_common())}")
    scene.check(server, answers, [])
    assert sent >= FRAMES // 2
    assert len(answers) > 8, f"These frames reach little: {answers}"


async def test_what_was_found_stays_mended(server: Server, scene: Scene) -> None:
    async with scene.mallory.socket() as socket:
        for frame, code in FOUND:
            await socket.connection.send(frame)
            assert (await socket.error())["code"] == code, frame
            await socket.request("ping")
    headers = {"Authorization": f"Bearer {scene.mallory.access}", "Content-Type": "application/json"}
    answer = httpx.post(f"{server.http}/api/rooms/{scene.own}/messages", content=b'{"payload":"\xff"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


async def test_when_all_are_gone_nothing_is_left_of_them(server: Server, scene: Scene) -> None:
    async def visit() -> None:
        for number in range(2):
            async with scene.mallory.socket() as socket:
                await _fuzz(socket, Mutations(100 + number, scene.right()), 300)
                # And one that leaves without a word.
                socket.connection.transport.abort()

    await visit()  # caches are filled once
    before = await _quiet(server)
    for _ in range(3):
        await visit()
    after = await _quiet(server)
    assert after["of_connections"] == {}, {name: n for name, n in after["ours"].items() if n < 50}
    assert {name: after[name] for name in ("sessions", "rooms", "users", "addresses")} == dict.fromkeys(
        ("sessions", "rooms", "users", "addresses"), 0
    )
    assert after["tasks"] <= before["tasks"], after
    grown = {name: n - before["ours"].get(name, 0) for name, n in after["ours"].items()}
    assert not {name: n for name, n in grown.items() if n > 0}, "Objects of ours that there were not before."
    assert after["all"] - before["all"] < 1000, f"{before['all']} objects became {after['all']}."


async def _quiet(server: Server) -> dict[str, Any]:
    """What lives when nothing is going on any more, and no connection is left; or still lives after a while."""
    now: dict[str, Any] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while True:
                earlier, now = now, await asyncio.to_thread(what_lives, server)
                if now["ours"] == earlier.get("ours") and not now["of_connections"] and not now["sessions"]:
                    break
                await asyncio.sleep(0.3)
    return now


async def _fuzz(socket: Socket, source: Source, number: int) -> Counter[str]:
    """Sends frames; how they were answered, by error code or type."""
    answers: Counter[str] = Counter()
    for start in range(0, number, ROUND):
        answers += await _send(socket, [source.one() for _ in range(min(ROUND, number - start))])
    return answers


async def _send(socket: Socket, texts: list[str] | list[str | bytes]) -> Counter[str]:
    """Sends frames and waits for the answers. Who is closed for a frame that is too large comes again."""
    answers: Counter[str] = Counter()
    closed: int | None = None
    try:
        for text in texts:
            await socket.connection.send(text)
        async with asyncio.timeout(6 * TIMEOUT):
            await socket.request("ping")
    except websockets.ConnectionClosed as end:
        closed = end.rcvd.code if end.rcvd is not None else 1006
    if closed is not None:
        assert closed == 1009, f"closed with {closed} after {texts}"
        await socket.connect()
        await socket.expect("welcome")
    for frame in socket.received:
        assert CANARY not in json.dumps(frame), frame
        answers[frame.get("code") or frame["type"]] += 1
    socket.received.clear()
    socket._inbox.clear()
    return answers
