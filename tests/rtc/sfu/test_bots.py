"""aiortc's peer connections through the engine, in one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mana_rtc.sfu.backend import (
    ParticipantInfo,
    ParticipantLeft,
    SfuError,
    TrackAdded,
    TrackRemoved,
    TransportLost,
    Wish,
)
from tests.rtc.bots import PacketTrack, house, until
from tests.rtc.media.sdps import CHROMIUM_OFFER


def packets(bot: Any, engine: Any) -> dict[str, int]:
    """How many packets of each track the bot was sent."""
    room = engine.rooms[bot.room].statistics()
    return {
        track: numbers["packets"]
        for track, numbers in room["participants"][bot.info.id].get("subscribe", {}).get("tracks", {}).items()
    }


async def arrived(bot: Any, *, more_than: int) -> int:
    """How many tracks the bot itself has more than so many packets of."""
    stats = (await bot.receiving.getStats()).values()
    return sum(one.type == "inbound-rtp" and one.packetsReceived > more_than for one in stats)


async def test_two_bots_hear_and_see_each_other() -> None:
    async with house() as home:
        ann, ben = await home.bot(), await home.bot()
        await ann.publish({"microphone": PacketTrack("audio"), "camera": PacketTrack("video")})
        await ben.publish({"microphone": PacketTrack("audio")})
        await until(lambda: len(ben.tracks) == 2 and len(ann.tracks) == 1, "the tracks are offered")
        await until(
            lambda: all(count > 5 for count in packets(ben, home.engine).values()) and packets(ben, home.engine),
            "packets flow",
        )
        async with asyncio.timeout(20):
            while await arrived(ben, more_than=2) < 2:
                await asyncio.sleep(0.02)


async def test_a_late_joiner_gets_what_is_there_and_who_leaves_is_gone() -> None:
    async with house() as home:
        ann = await home.bot()
        await ann.publish({"microphone": PacketTrack("audio")})
        ben = await home.bot()
        await until(lambda: ben.tracks, "the track is offered")
        await ann.leave()
        home.bots.remove(ann)
        await until(lambda: any(isinstance(event, ParticipantLeft) for event in ben.events), "the leaving is told")
        removed = [event for event in ben.events if isinstance(event, TrackRemoved)]
        assert [event.track.participant for event in removed] == [ann.info.id]
        assert list(home.engine.rooms["room"].participants) == [ben.info.id]
        assert len(home.engine.mux.peers) == 1


async def test_an_empty_room_is_forgotten() -> None:
    async with house() as home:
        ann = await home.bot()
        await ann.publish({"microphone": PacketTrack("audio")})
        await ann.leave()
        home.bots.remove(ann)
        assert home.engine.rooms == {}
        assert home.engine.mux.peers == set()


async def test_data_channels_carry_both_ways() -> None:
    async with house() as home:
        ann, ben = await home.bot(), await home.bot()
        channels = [await bot.open_channel("chat") for bot in (ann, ben)]
        got: list[list[bytes]] = [[], []]
        for channel, inbox in zip(channels, got, strict=True):
            channel.on("message", inbox.append)
        await until(lambda: all(channel.readyState == "open" for channel in channels), "the channels open")
        await until(
            lambda: all(home.participant(bot).publisher.channels for bot in (ann, ben)), "the server knows of them"
        )
        channels[0].send("hello")
        channels[1].send(b"\1\2")
        await until(lambda: all(got), "the messages come")
        assert got[1][0].endswith(b"hello")
        assert b'"from": "user-bot0"' in got[1][0]
        assert got[0][0].endswith(b"\1\2")


async def test_wishes_pause_and_resume_a_track() -> None:
    async with house() as home:
        ann, ben = await home.bot(), await home.bot()
        await ann.publish({"camera": PacketTrack("video")})
        await until(lambda: sum(packets(ben, home.engine).values()) > 3, "packets flow")
        (track,) = packets(ben, home.engine)
        await home.engine.subscribe("room", ben.info.id, {track: Wish(enabled=False)})
        before = packets(ben, home.engine)[track]
        await asyncio.sleep(0.5)
        assert packets(ben, home.engine)[track] == before
        await home.engine.subscribe("room", ben.info.id, {track: Wish(enabled=True), "unknown": Wish()})
        await until(lambda: packets(ben, home.engine)[track] > before + 3, "packets flow again")
        assert set(home.participant(ben).wishes) == {track}


async def test_last_n_pauses_pictures_but_not_pinned_ones() -> None:
    """With room for one camera, the other is sent once it is pinned."""
    async with house(last_n=1) as home:
        ann, ben, carol = await home.bot(), await home.bot(), await home.bot()
        for one in (ann, ben):
            await one.publish({"camera": PacketTrack("video", per_second=50)})
        await until(lambda: len(carol.tracks) == 2, "both are offered")

        def layers() -> dict[str, str | None]:
            tracks = home.participant(carol).subscriber.statistics()["tracks"]
            return {track: numbers["layer"] for track, numbers in tracks.items()}

        await until(lambda: sorted(map(str, layers().values())) == ["None", "only"], "one of them is sent")
        (paused,) = [track for track, layer in layers().items() if layer is None]
        await home.engine.subscribe("room", carol.info.id, {paused: Wish(pinned=True)})
        await until(lambda: list(layers().values()) == ["only", "only"], "the pinned one comes on top")
        before = packets(carol, home.engine)[paused]
        await until(lambda: packets(carol, home.engine)[paused] > before + 10, "its packets flow")


async def test_limits() -> None:
    async with house(max_rooms=1, max_participants=2, max_tracks=1) as home:
        ann = await home.bot()
        await home.bot()
        with pytest.raises(SfuError, match="full"):
            await home.bot(name="third")
        with pytest.raises(SfuError, match="no room"):
            await home.bot(room="other", name="fourth")
        home.bots[:] = home.bots[:2]
        with pytest.raises(SfuError, match="Too many tracks"):
            await ann.publish({"microphone": PacketTrack("audio"), "camera": PacketTrack("video")})
        assert home.participant(ann).publisher is None


async def test_commands_of_strangers_are_refused() -> None:
    async with house() as home:
        with pytest.raises(SfuError):
            await home.engine.publish("room", "nobody", "v=0", {})
        ann = await home.bot()
        with pytest.raises(SfuError):
            await home.engine.publish("room", ann.info.id, "v=0", {})
        with pytest.raises(SfuError):
            await home.engine.answer("room", ann.info.id, "v=0", 77)
        await home.engine.leave("room", "nobody")


async def test_a_dead_peer_is_noticed() -> None:
    async with house(peer_timeout=1.0) as home:
        ann, ben = await home.bot(), await home.bot()
        await ann.publish({"microphone": PacketTrack("audio")})
        await until(lambda: ben.tracks, "the track is offered")
        # Gone without a word: nothing of it comes any more, and nothing is answered.
        publisher = home.participant(ann).publisher
        publisher.transport.ice.last_heard = float("-inf")
        await until(lambda: any(isinstance(event, TrackRemoved) for event in ben.events), "the others are told")
        lost = [event for event in ann.events if isinstance(event, TransportLost)]
        assert [(event.peer, event.reason) for event in lost] == [("publish", "timeout")]
        assert home.participant(ann).publisher is None


async def test_who_is_alone_for_long_is_offered_what_comes_later() -> None:
    async with house(peer_timeout=0.2) as home:
        ann = await home.bot()
        await asyncio.sleep(0.5)
        ben = await home.bot()
        await ben.publish({"microphone": PacketTrack("audio")})
        await until(lambda: ann.tracks, "the track is offered")


@pytest.mark.parametrize("accelerated", [False, True])
async def test_both_ways_of_encrypting(accelerated: bool) -> None:
    async with house(transport={"accelerated": accelerated}) as home:
        ann, ben = await home.bot(), await home.bot()
        await ann.publish({"camera": PacketTrack("video", per_second=30, size=1500)})
        await until(lambda: sum(packets(ben, home.engine).values()) > 30, "packets flow")
        transport = home.participant(ben).subscriber.transport
        assert transport._srtp.accelerated is accelerated
        async with asyncio.timeout(20):
            while not await arrived(ben, more_than=20):
                await asyncio.sleep(0.02)


async def test_a_publisher_cannot_use_up_the_sections_of_others() -> None:
    """Every offer has other parameters, so that each time the track is another one."""
    async with house() as home:
        ben = await home.bot()
        await home.engine.join("room", ParticipantInfo(id="eve", user_id="eve", username="eve"))
        for number in range(30):
            await home.engine.publish("room", "eve", CHROMIUM_OFFER.replace("minptime=10", f"minptime={number}"), {})
            moved = CHROMIUM_OFFER.replace("a=msid:stream", f"a=msid:stream{number}")
            await home.engine.publish("room", "eve", moved, {})
        await until(lambda: len(ben.tracks) == 2, "the last ones are offered")
        assert len(home.participant(ben).subscriber.slots) == 2
        await home.engine.leave("room", "eve")


async def test_a_publisher_without_transport_cc_is_told_what_its_path_takes() -> None:
    """aiortc's encoders take the bitrate of a REMB; that of the picture here has nothing to do, but is told."""
    async with house(start_bitrate=900_000) as home:
        ann = await home.bot()
        await ann.publish({"camera": PacketTrack("video", per_second=50)})
        (sender,) = ann.publishing.getSenders()

        def target() -> int:
            encoder = sender._RTCRtpSender__encoder
            return encoder.target_bitrate if encoder is not None else 0

        await until(lambda: 890_000 <= target() <= 900_000, "the server's estimate is taken")


@pytest.mark.slow
async def test_thirteen_bots_publish_and_receive() -> None:
    """Each gets both tracks of the twelve others."""
    async with house() as home:
        bots = [await home.bot() for _ in range(13)]
        for bot in bots:
            await bot.publish(
                {"microphone": PacketTrack("audio", per_second=5), "camera": PacketTrack("video", per_second=5)}
            )
        await until(lambda: all(len(bot.tracks) == 24 for bot in bots), "all tracks are offered", 60)
        await until(
            lambda: all(
                len(packets(bot, home.engine)) == 24 and min(packets(bot, home.engine).values()) > 5 for bot in bots
            ),
            "all packets flow",
            60,
        )
        async with asyncio.timeout(60):
            for bot in bots:
                while await arrived(bot, more_than=3) < 24:
                    await asyncio.sleep(0.1)
                assert sum(isinstance(event, TrackAdded) for event in bot.events) <= 24
