"""``manage.py mana_record``: a real call is recorded, and everybody in it knows."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiortc.mediastreams import MediaStreamTrack
from django.core.management import CommandError, call_command

from mana import accounts, calls, rooms
from mana.protocol import ErrorCode, ManaError
from mana_rtc.callbot import CallBot
from mana_rtc.models import Call
from mana_rtc.sfu.backend import Source
from tests.rtc.workers.cluster import Listener, until
from tests.support import databases
from tests.support.client import Account
from tests.support.instances import instance
from tests.support.server import Server, serving
from tests.support.tone import Live, pictures_of, pitch_of

POLICY = "tests.rtc.recording.RecordersRecord"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A node where recorders record, and which a command reaches."""
    with instance("redis") as redis, databases.fresh("sqlite") as url:
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.rtc.calls.journal_settings",
            "TEST_CALL_JOURNAL": str(tmp_path_factory.mktemp("recording") / "journal"),
            "CHANNEL_LAYER_URL": redis.url,
            "MANA_CALL_POLICY": POLICY,
            "MANA_RTC_ADDRESSES": "127.0.0.1",
        }
        with serving(url, **environment) as running:
            yield running
            assert "Traceback" not in running.log, running.log[-4000:]


class Recording:
    """The command in a process of its own, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.files: list[dict[str, Any]] = []

    @classmethod
    async def of(cls, node: Server, room: str, who: Account, folder: Path) -> Recording:
        """Begins it."""
        environment = {**os.environ, **node.environment, "DATABASE_URL": node.database_url, "PYTHONWARNINGS": "ignore"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "manage.py", "mana_record", room),
            *("--as", who.username, "--folder", str(folder), "--url", node.ws),
            cwd=databases.ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def read(self, count: int) -> None:
        """Reads so many lines more."""
        assert self.process.stdout is not None
        for _ in range(count):
            line = await self.process.stdout.readline()
            assert line, await self.errors()
            self.files.append(json.loads(line))

    async def errors(self) -> str:
        """What it complained of, when it has ended."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()


def recorders(account: Account, call: str) -> list[str]:
    """Who records a call, as REST shows it to somebody."""
    return [one["user_id"] for one in account.get(f"rtc/calls/{call}")["participants"] if one["recording"]]


@pytest.mark.slow
async def test_a_call_is_recorded_until_its_people_have_left(node: Server, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    ann, ben = Account(node), Account(node)
    recorder = Account(node, f"recorder-{uuid4().hex[:8]}")
    room = ann.room(ben, recorder)

    def tracks() -> dict[Source, MediaStreamTrack]:
        return {"microphone": Live("audio"), "camera": Live("video")}

    listener = Listener(ben, node)
    async with (
        asyncio.timeout(120),
        CallBot([node.ws], lambda: ann.access, make_tracks=tracks) as speaker,
        listener.bot,
    ):
        call = (await speaker.request("call_start", room_id=room, payload={"video": True}))["call_id"]
        await listener.bot.request("call_accept", call_id=call)
        await asyncio.gather(speaker.join(room), listener.bot.join(room))
        await until(lambda: listener.heard.get(ann.id, 0) > 10, "Ben hears Ann")
        assert await asyncio.to_thread(recorders, ben, call) == []

        recording = await Recording.of(node, room, recorder, folder)
        await recording.read(3)  # Ann's sound and picture, and Ben's sound
        await until(lambda: any(frame["type"] == "call_participant" for frame in listener.frames), "Ben is told")
        told = [frame for frame in listener.frames if frame["type"] == "call_participant"]
        assert [(one["reason"], one["participant"]["recording"]) for one in told] == [("recording", True)]
        assert told[0]["participant"]["user_id"] == recorder.id
        assert await asyncio.to_thread(recorders, ben, call) == [recorder.id]
        since = listener.heard[ann.id]
        await until(lambda: listener.heard[ann.id] >= since + 100, "two seconds more are said")

        await speaker.request("call_end", call_id=call)
        await listener.bot.request("call_end", call_id=call)
        await recording.read(3)
        assert await recording.process.wait() == 0, await recording.errors()
    listener.close()
    found = await asyncio.to_thread(ann.get, f"rtc/calls/{call}")
    assert (found["state"], found["reason"]) == ("ended", "hangup")  # the recorder alone is no call

    assert [one["event"] for one in recording.files] == ["started"] * 3 + ["finished"] * 3
    of = {(one["user_id"], one["source"]): Path(one["path"]) for one in recording.files[3:]}
    assert set(of) == {(ann.id, "microphone"), (ann.id, "camera"), (ben.id, "microphone")}
    assert {path.parent for path in of.values()} == {folder}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert pitch_of(of[ann.id, "microphone"]) == pytest.approx(440, rel=0.05)
    pictures = pictures_of(of[ann.id, "camera"])
    assert {picture[1:] for picture in pictures} == {(160, 120)}
    assert pictures[-1][0] > 1.5  # seconds
    starts = {one["user_id"]: one["started_at"] for one in recording.files if one["source"] == "microphone"}
    assert abs(starts[ann.id] - starts[ben.id]) < 30

    journal = Path(node.environment["TEST_CALL_JOURNAL"]).read_text().splitlines()
    said = [line.split()[2:5] for line in journal if line.startswith(f"{call} recorded")]
    assert sorted(said) == sorted([user, source, path.name] for (user, source), path in of.items())
    assert journal.count(f"{call} ended hangup") == 1


@pytest.mark.slow
async def test_who_may_not_record_does_not_get_in(node: Server, tmp_path: Path) -> None:
    ann, ben = Account(node), Account(node)
    room = ann.room(ben)
    async with asyncio.timeout(60), ann.socket() as one, ben.socket() as two:
        call = (await one.request("call_start", room_id=room))["call_id"]
        await two.request("call_accept", call_id=call)
        await one.expect("call_accept")
        recording = await Recording.of(node, room, ben, tmp_path / "recordings")
        assert await recording.process.wait() == 1
        assert "Calls are not recorded here." in await recording.errors()
        assert [frame for frame in await one.silence() if frame["type"].startswith("call_")] == []
    assert not (tmp_path / "recordings").exists()


# -- Who may, without processes ----------------------------------------------------------------------------------------


@pytest.fixture
def group(db: None) -> tuple[Any, Any, Any, Any]:
    """A room and three members, of whom the last one is a recorder."""
    names = ("ann", "ben", "recorder")
    ann, ben, recorder = (accounts.register(username=name, password="tea-and-biscuits-7") for name in names)
    return rooms.create_room(ann, name="Tea", members=[ben, recorder]).room, ann, ben, recorder


def refusal(room: Any, user: Any) -> ErrorCode:
    """Why somebody may not record."""
    with pytest.raises(ManaError) as raised:
        calls.recordable(room.key, user)
    return raised.value.code


@pytest.mark.django_db
def test_by_default_nobody_records(group: tuple[Any, Any, Any, Any]) -> None:
    room, ann, ben, recorder = group
    call = calls.start(room, ann)
    calls.answer(call.key, ben)
    assert {refusal(room, user) for user in (ann, ben, recorder)} == {ErrorCode.FORBIDDEN}
    with pytest.raises(ManaError):
        calls.begin_recording(call.key, ann)
    assert not call.participants.filter(is_recording=True).exists()


@pytest.mark.django_db
def test_only_who_is_in_an_answered_call_records_it(group: tuple[Any, Any, Any, Any], settings: Any) -> None:
    settings.MANA = {**settings.MANA, "CALL_POLICY": POLICY}
    room, ann, ben, recorder = group
    assert refusal(room, recorder) is ErrorCode.CONFLICT
    call = calls.start(room, ann)
    assert refusal(room, recorder) is ErrorCode.CONFLICT  # joining it would be to answer
    calls.answer(call.key, ben)
    assert calls.recordable(room.key, recorder) == call
    with pytest.raises(ManaError, match="not in this call"):
        calls.begin_recording(call.key, recorder)
    calls.answer(call.key, recorder)
    calls.begin_recording(call.key, recorder)
    row = call.participants.get(user=recorder)
    assert row.is_recording
    calls.hang_up(call.key, recorder)
    row.refresh_from_db()
    assert not row.is_recording


@pytest.mark.django_db
def test_an_encrypted_call_is_not_recorded(group: tuple[Any, Any, Any, Any], settings: Any) -> None:
    settings.MANA = {**settings.MANA, "CALL_POLICY": POLICY}
    room, ann, ben, recorder = group
    call = calls.start(room, ann, payload={"encrypted": True})
    calls.answer(call.key, ben)
    assert refusal(room, recorder) is ErrorCode.CONFLICT
    assert Call.objects.get(pk=call.pk).state == "accepted"


def test_nobody_would_be_told_without_a_layer_between_processes(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="channel layer"):
        call_command("mana_record", "room", user="recorder", folder=tmp_path, url=["ws://127.0.0.1:1/ws"])
