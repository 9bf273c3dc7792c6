"""A tone and a moving picture, in files and as tracks, and what of it is left in others."""

from __future__ import annotations

import asyncio
import math
from array import array
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
from aiortc.mediastreams import MediaStreamTrack

RATE = 48_000
#: Samples of 20 ms.
SAMPLES = RATE // 50
PICTURES = 10


def write_tone(path: Path, seconds: float, *, hertz: int = 440, width: int = 160, height: int = 120) -> Path:
    """Writes Opus and VP8 in WebM: a tone, and a picture that becomes brighter ten times a second."""
    with av.open(str(path), "w", format="webm") as container:
        audio: Any = container.add_stream("libopus", rate=RATE, layout="mono")
        video: Any = container.add_stream("libvpx", rate=PICTURES)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for number in range(round(seconds * 50)):
            container.mux(audio.encode(_sound(number, hertz)))
            if number % (50 // PICTURES) == 0:
                container.mux(video.encode(_picture(number // (50 // PICTURES), width, height)))
        container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path


class Live(MediaStreamTrack):
    """The same without an end, for an aiortc connection; ``kind`` is "audio" or "video"."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__()
        self._numbers = count()
        self._began = -1.0

    async def recv(self) -> Any:
        """The next frame, when it is time for it."""
        now, number = asyncio.get_running_loop().time(), next(self._numbers)
        per_second = 50 if self.kind == "audio" else PICTURES
        if self._began < 0:
            self._began = now
        await asyncio.sleep(self._began + number / per_second - now)
        return _sound(number, 440) if self.kind == "audio" else _picture(number, 160, 120)


def _sound(number: int, hertz: int) -> av.AudioFrame:
    first = number * SAMPLES
    samples = array(
        "h", (round(12_000 * math.sin(math.tau * hertz * at / RATE)) for at in range(first, first + SAMPLES))
    )
    frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES)
    frame.planes[0].update(samples.tobytes())
    frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
    return frame


def _picture(number: int, width: int, height: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, value in zip(frame.planes, (40 + 15 * (number % 12), 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    frame.pts, frame.time_base = number, Fraction(1, PICTURES)
    return frame


def pitch_of(path: Path) -> float:
    """How high the sound in a file is, in Hz, by how often it crosses zero. All frames of it can be decoded."""
    crossings = samples = 0
    before = 0
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                heard = array("h", bytes(part.planes[0])[: part.samples * 2])
                for sample in heard:
                    if abs(sample) > 500:  # silence before and after it is no sound
                        crossings += before * sample < 0
                        before = sample
                samples += sum(1 for sample in heard if abs(sample) > 500)
    # Of a full swing a part of 12,000 is below 500.
    audible = 1 - 2 * math.asin(500 / 12_000) / math.pi
    return crossings / 2 / (samples / audible / RATE) if samples else 0.0


def pictures_of(path: Path) -> list[tuple[float, int, int]]:
    """(seconds from the first, width, height) of every picture in a file."""
    with av.open(str(path)) as container:
        found = [(float(frame.time or 0), frame.width, frame.height) for frame in container.decode(video=0)]
    return [(at - found[0][0], width, height) for at, width, height in found]
