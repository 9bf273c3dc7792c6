"""Writing the tracks of a call to files, in the test's own event loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from mana_rtc.recorder import Limits, Recorder
from mana_rtc.sfu.backend import TrackInfo
from tests.rtc.bots import House, house, until


def seconds_of(path: str) -> float:
    """How long a file plays; every frame of it can be decoded."""
    with av.open(path) as container:
        frames = list(container.decode(container.streams[0]))
    return float(frames[-1].time - frames[0].time)


async def recording(home: House, recorder: Recorder) -> None:
    """One who speaks and shows themselves, and one whose tracks are recorded."""

    def came(track: MediaStreamTrack, track_id: str) -> None:
        kind = "audio" if track.kind == "audio" else "video"
        source = "microphone" if kind == "audio" else "camera"
        recorder.track(track, TrackInfo(id=track_id, kind=kind, source=source, participant="p", user_id="../ann"))  # type: ignore[arg-type]

    speaker = await home.bot()
    await home.bot(on_track=came)
    await speaker.publish({"microphone": AudioStreamTrack(), "camera": VideoStreamTrack()})


async def test_sound_and_pictures_become_files(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    recorder = Recorder(tmp_path, Limits(most_bytes=2**30, most_tracks=4), told.append)
    async with house() as home:
        await recording(home, recorder)
        await until(lambda: len(list(tmp_path.iterdir())) == 2, "both are written", 60)
        await until(lambda: all(one.seconds > 1.5 for one in recorder._writing.values()), "for a while", 60)
        await recorder.stop()
    assert sorted(event["event"] for event in told) == ["finished", "finished", "started", "started"]
    finished = {event["source"]: event for event in told if event["event"] == "finished"}
    assert set(finished) == {"microphone", "camera"}
    for event in finished.values():
        assert Path(event["path"]).parent == tmp_path
        assert event["bytes"] == Path(event["path"]).stat().st_size
        assert seconds_of(event["path"]) > 1
        assert event["user_id"] == "../ann"


async def test_a_recording_is_bounded(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    recorder = Recorder(tmp_path, Limits(most_bytes=300, most_tracks=1), told.append)
    async with house() as home:
        await recording(home, recorder)
        await until(recorder.full.is_set, "it is full", 60)
        await recorder.stop()
    assert [event["event"] for event in told] == ["started", "finished"]  # of one track
