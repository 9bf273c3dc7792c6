"""Janus' VideoRoom behind ``SfuBackend``: two nodes' backends in one event loop, bots, and Janus for real."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mana_rtc.bot import Bot
from mana_rtc.janus.backend import JanusSfu
from mana_rtc.janus.member import number_of
from mana_rtc.sfu.backend import (
    Event,
    Offer,
    ParticipantInfo,
    ParticipantLeft,
    SfuError,
    TrackAdded,
    TrackRemoved,
    TransportLost,
    Wish,
)
from tests.rtc.bots import PacketTrack, until
from tests.rtc.janus.instance import ADMIN_KEY, API_SECRET, Janus

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def known(settings: Any, janus: Janus) -> None:
    janus.start()
    settings.MANA = {
        **settings.MANA,
        "JANUS_URL": janus.url,
        "JANUS_API_SECRET": API_SECRET,
        "JANUS_ADMIN_KEY": ADMIN_KEY,
    }


class Node:
    """A node's backend, and its people."""

    def __init__(self) -> None:
        self.backend = JanusSfu(self._told)
        self.bots: list[Bot] = []
        self.events: list[Event] = []

    def _told(self, event: Event) -> None:
        self.events.append(event)
        for bot in self.bots:
            bot.handle(event)

    async def bot(self, name: str, room: str) -> Bot:
        bot = Bot(self.backend, room, ParticipantInfo(id=name, user_id=f"user-{name}", username=name))
        self.bots.append(bot)
        await bot.join()
        return bot

    def told(self, kind: type[Any], name: str) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind) and name in event.to]


@contextlib.asynccontextmanager
async def nodes(count: int = 2) -> AsyncIterator[list[Node]]:
    made = [Node() for _ in range(count)]
    try:
        yield made
    finally:
        for node in made:
            for bot in node.bots:
                await bot.leave()
            await node.backend.aclose()


async def heard(bot: Bot, packets: int = 5) -> None:
    """Waits for so many packets of each track that comes."""
    async with asyncio.timeout(20):
        for track in list(bot.tracks.values()):
            for _ in range(packets):
                await track.recv()


async def until_silent(track: Any) -> None:
    """Waits until nothing has come for a while."""
    async with asyncio.timeout(20):
        with contextlib.suppress(TimeoutError):
            while True:
                await asyncio.wait_for(track.recv(), 0.7)


async def test_a_group_call_across_two_nodes() -> None:
    async with nodes() as (one, other):
        bots = [await one.bot("a", "r1"), await other.bot("b", "r1"), await other.bot("c", "r1")]
        for bot in bots:
            await bot.publish({"microphone": PacketTrack("audio", per_second=50)})
        for bot in bots:
            await until(lambda bot=bot: len(bot.tracks) == 2, f"{bot.info.id} receives both others")  # type: ignore[misc]
        for bot in bots:
            await heard(bot)
        added = one.told(TrackAdded, "a")
        assert {(event.track.source, event.track.user_id) for event in added} == {
            ("microphone", "user-b"),
            ("microphone", "user-c"),
        }
        late = await one.bot("late", "r1")  # finds who is there
        await until(lambda: len(late.tracks) == 3, "a late joiner receives all")
        await heard(late)
        found = await one.backend.resume("r1", "late")
        assert {info.user_id for info in found.participants} == {"user-a", "user-b", "user-c"}
        await bots[1].leave()
        await until(lambda: one.told(TrackRemoved, "a"), "the track is gone")
        await until(lambda: [e.participant.id for e in one.told(ParticipantLeft, "a")] == ["b"], "b has left")


async def test_what_is_not_wished_is_not_sent() -> None:
    async with nodes(1) as (node,):
        speaker, listener = await node.bot("a", "r2"), await node.bot("b", "r2")
        await speaker.publish({"microphone": PacketTrack("audio", per_second=50)})
        await until(lambda: len(listener.tracks) == 1, "the track is there")
        (track_id, track), *_ = listener.tracks.items()
        await heard(listener)
        await node.backend.subscribe("r2", "b", {track_id: Wish(enabled=False)})
        await until_silent(track)
        await node.backend.subscribe("r2", "b", {track_id: Wish(enabled=True)})
        await heard(listener)


async def test_publishing_anew_with_another_connection() -> None:
    async with nodes(1) as (node,):
        speaker, listener = await node.bot("a", "r3"), await node.bot("b", "r3")
        await speaker.publish({"microphone": PacketTrack("audio", per_second=50)})
        await until(lambda: len(listener.tracks) == 1, "the track is there")
        await heard(listener)
        again = Bot(node.backend, "r3", speaker.info)
        try:
            await again.publish({"screen_audio": PacketTrack("audio", per_second=50)})
            await until(lambda: len(node.told(TrackAdded, "b")) == 2, "the new track is announced")
            assert [event.track.source for event in node.told(TrackAdded, "b")] == ["microphone", "screen_audio"]
        finally:
            await again.publishing.close()
            await again.receiving.close()


async def test_a_restart_offers_new_credentials() -> None:
    async with nodes(1) as (node,):  # aiortc itself knows no restart
        speaker, listener = await node.bot("a", "r8"), await node.bot("b", "r8")
        await speaker.publish({"microphone": PacketTrack("audio", per_second=50)})
        await until(lambda: len(listener.tracks) == 1, "the track is there")
        await heard(listener)
        await node.backend.restart("r8", "b")
        await until(lambda: len(node.told(Offer, "b")) == 2, "there is another offer")
        first, second = (re.findall("^a=ice-ufrag:(.+)$", one.sdp, re.MULTILINE) for one in node.told(Offer, "b"))
        assert first[0] != second[0]


async def test_refusals() -> None:
    async with nodes(1) as (node,):
        with pytest.raises(SfuError, match="not in this call"):
            await node.backend.ready("r4", "nobody")
        await node.bot("a", "r4")
        with pytest.raises(SfuError):
            await node.backend.publish("r4", "a", "nonsense", {})
        with pytest.raises(SfuError, match="no offer"):
            await node.backend.answer("r4", "a", "v=0", 7)


async def test_strangers_to_the_nodes_get_into_no_room(janus: Janus) -> None:
    async with nodes(1) as (node,):
        await node.bot("a", "r5")
        connection = node.backend._connection
        assert connection is not None
        handle = await connection.attach(lambda data, jsep: None)
        with pytest.raises(SfuError, match=r"(?i)unauthorized"):
            await handle.request(request="join", ptype="publisher", room=number_of("r5"), pin="guess")
        with pytest.raises(SfuError, match=r"(?i)unauthorized|admin_key"):
            await handle.request(request="create", room=7)


async def test_an_empty_room_is_removed() -> None:
    async with nodes(1) as (node,):
        bot = await node.bot("a", "r6")
        await bot.leave()
        node.bots.clear()
        connection = node.backend._connection
        assert connection is not None
        handle = await connection.attach(lambda data, jsep: None)
        async with asyncio.timeout(10):
            while (await handle.request(request="exists", room=number_of("r6")))[0]["exists"]:
                await asyncio.sleep(0.05)  # who has left is told first, then the room goes


async def test_people_join_anew_when_janus_was_killed(janus: Janus) -> None:
    async with nodes(1) as (node,):
        await node.bot("a", "r7")
        janus.kill()
        await until(lambda: node.told(TransportLost, "a"), "a is told", 5)
        assert [event.peer for event in node.told(TransportLost, "a")] == ["seat"]
        await until(lambda: not node.backend._removing, "what it left behind is let go", 10)
        assert [task for task in asyncio.all_tasks() if task.get_name() == "mana-janus-member"] == []
        with pytest.raises(SfuError, match="reached") as raised:
            await node.backend.join("r7", ParticipantInfo(id="b", user_id="b", username="b"))
        assert raised.value.full
        janus.start()
        await node.bot("b", "r7")
