"""Calls across nodes: over Redis between two servers, without a layer, and when a node is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rtc.calls.conftest import FAST
from tests.rtc.calls.test_life import answered, of_calls, outcome
from tests.support import databases
from tests.support.client import Account, Refused, Socket
from tests.support.instances import Redis, instance
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with instance("redis") as own:
        yield own


@pytest.fixture(params=("sqlite", "postgres", "mariadb"), scope="module")
def nodes(request: pytest.FixtureRequest, redis: Redis, tmp_path_factory: Any) -> Iterator[tuple[Server, Server]]:
    """Two nodes on one database and one Redis, which write down the signals of calls that they send."""
    journal = tmp_path_factory.mktemp("calls") / "journal"
    environment = {
        **FAST,
        "CHANNEL_LAYER_URL": redis.url,
        "DJANGO_SETTINGS_MODULE": "tests.rtc.calls.journal_settings",
        "TEST_CALL_JOURNAL": str(journal),
        "MANA_PRESENCE_LEASE": "2",
        "MANA_PRESENCE_GRACE": "0.2",
    }
    with (
        databases.fresh(request.param) as url,
        serving(url, **environment) as one,
        serving(url, **environment) as other,
    ):
        yield one, other


def at(node: Server, account: Account, **query: str) -> Socket:
    """A socket of an account at a node."""
    return Socket(node, headers={"Authorization": f"Bearer {account.access}"}, **query)


def journal(node: Server, call: str) -> list[str]:
    """The signals of a call that any node sent, as they were written down."""
    lines = Path(node.environment["TEST_CALL_JOURNAL"]).read_text().splitlines()
    return [line.removeprefix(f"{call} ") for line in lines if line.startswith(f"{call} ")]


async def test_a_call_lives_on_two_nodes(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(other)
    async with at(one, alice) as a, at(other, bob) as phone, at(one, bob) as desk:
        call = (await a.request("call_start", to=bob.id))["call_id"]
        room = (await phone.expect("call_start"))["room_id"]
        await desk.expect("call_start")
        await answered(a, phone, call)
        assert (await desk.expect("call_accept"))["from"] == bob.id
        await a.request("offer", room_id=room, to=phone.welcome["session_id"], sdp="v=0")
        assert (await phone.expect("offer"))["from"] == alice.id
        await phone.request("answer", room_id=room, to=a.welcome["session_id"], sdp="v=0")
        assert (await a.expect("answer"))["from"] == bob.id
        await a.request("mute", room_id=room, payload=True)
        assert (await phone.expect("mute"))["from"] == alice.id
        assert "offer" not in [frame["type"] for frame in await desk.silence()]
        bob.post("blocks", user_id=alice.id)
        for socket in (a, phone, desk):
            assert (await socket.expect("call_end"))["call_id"] == call
    assert journal(one, call) == ["started", "ended hangup"]


async def test_two_devices_at_two_nodes_answer_at_once(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(other)
    async with at(one, alice) as a, at(one, bob) as phone, at(other, bob) as desk:
        for _ in range(5):
            call = (await a.request("call_start", to=bob.id))["call_id"]
            answers = await asyncio.gather(
                *(device.request("call_accept", call_id=call) for device in (phone, desk)), return_exceptions=True
            )
            refused = [answer.frame["code"] for answer in answers if isinstance(answer, Refused)]
            assert refused == ["conflict"]
            await a.request("call_end", call_id=call)
            assert journal(one, call) == ["started", "ended hangup"]


async def test_two_at_two_nodes_call_each_other_at_once(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(other)
    async with at(one, alice) as a, at(other, bob) as b:
        for _ in range(5):
            first, second = await asyncio.gather(
                a.request("call_start", to=bob.id), b.request("call_start", to=alice.id)
            )
            assert first["call_id"] == second["call_id"]
            assert outcome(alice, first["call_id"]) == ("accepted", None)
            await b.request("call_end", call_id=first["call_id"])


async def test_cancel_against_answer_at_two_nodes(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(other)
    async with at(one, alice) as a, at(other, bob) as b:
        for _ in range(5):
            call = (await a.request("call_start", to=bob.id))["call_id"]
            await asyncio.gather(
                a.request("call_end", call_id=call), b.request("call_accept", call_id=call), return_exceptions=True
            )
            for socket in (a, b):
                assert (await socket.expect("call_end", call_id=call))["reason"] == "hangup"
            assert journal(one, call) == ["started", "ended hangup"]


async def test_a_killed_node_takes_nobodys_call_with_it(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(other)
    async with at(one, alice) as a:
        doomed = at(other, bob, device_id="phone")
        async with doomed as b:
            call = (await a.request("call_start", to=bob.id))["call_id"]
            await answered(a, b, call)
            await asyncio.to_thread(other.kill)
        try:
            async with at(one, bob, device_id="phone") as again:  # comes back to the node that is left
                await again.request("call_accept", call_id=call)
                assert (await a.expect("call_participant"))["reason"] == "moved"
                await asyncio.sleep(7)  # longer than a lost connection is waited for
                assert outcome(alice, call) == ("accepted", None)
                await again.request("call_end", call_id=call)
                assert (await a.expect("call_end"))["reason"] == "hangup"
        finally:
            await asyncio.to_thread(other.start)
    assert journal(one, call) == ["started", "ended hangup"]


async def test_a_killed_nodes_calls_are_ended_once_by_the_others(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob, carol = Account(one), Account(other), Account(other)
    async with at(one, alice) as a:
        async with at(other, bob) as b, at(other, carol) as c, at(other, bob) as b2:
            call = (await a.request("call_start", to=bob.id))["call_id"]
            await answered(a, b, call)
            # And one whose people are all on the node that dies.
            both = Account(other)
            async with at(other, both) as d:
                lost = (await c.request("call_start", to=both.id))["call_id"]
                await answered(c, d, lost)
                await asyncio.to_thread(other.kill)
            del b2
        try:
            over = await a.expect("call_end")
            assert (over["call_id"], over["reason"]) == (call, "disconnected")
            async with asyncio.timeout(10):
                while journal(one, lost)[-1] != "ended disconnected":
                    await asyncio.sleep(0.1)
        finally:
            await asyncio.to_thread(other.start)
        assert await of_calls(a) == []
    for key in (call, lost):
        assert journal(one, key) == ["started", "ended disconnected"]


async def test_nodes_that_no_layer_connects_still_agree() -> None:
    """Frames do not cross then; what a call is, who answered it and that it is over is in the database."""
    with databases.fresh("sqlite") as url, serving(url, **FAST) as one, serving(url, **FAST) as other:
        alice, bob = Account(one), Account(other)
        async with at(one, alice) as a:
            call = (await a.request("call_start", to=bob.id))["call_id"]
            async with at(other, bob) as b, at(one, bob) as desk:
                for socket in (b, desk):
                    assert (await socket.expect("call_start"))["call_id"] == call
                answers = await asyncio.gather(
                    *(socket.request("call_accept", call_id=call) for socket in (b, desk)), return_exceptions=True
                )
                assert [one.frame["code"] for one in answers if isinstance(one, Refused)] == ["conflict"]
                assert outcome(bob, call) == ("accepted", None)
                await b.request("call_end", call_id=call)
                assert outcome(alice, call) == ("ended", "hangup")
