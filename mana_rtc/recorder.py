"""Writes the tracks of a call to files, one each, by PyAV. ``manage.py mana_record`` is a process of its own for it.

Each kind is decoded and encoded again, since what comes over the network has gaps: sound becomes Opus in Ogg, pictures
VP8 in WebM, in the size of the first one. Encoding runs in a thread per track.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from mana_rtc.sfu.backend import TrackInfo

logger = logging.getLogger("mana.rtc.recorder")

CLOCKS = {"audio": 48_000, "video": 90_000}


class Limits:
    """What a recording may take: ``most_bytes`` in all its files, ``most_tracks`` of them at a time."""

    def __init__(self, *, most_bytes: int, most_tracks: int) -> None:
        self.most_bytes = most_bytes
        self.most_tracks = most_tracks


class Recorder:
    """Give ``track`` to a ``CallBot`` as ``on_track``. ``on_file`` is called in the event loop, with a dictionary, when
    a file has its first frame and when it is finished: ``event`` (``started``, ``finished``), ``path``, ``user_id``,
    ``source``, ``started_at`` (of the first frame, seconds since the epoch), ``seconds``, ``bytes``.
    """

    def __init__(self, folder: Path, limits: Limits, on_file: Callable[[dict[str, Any]], None]) -> None:
        self._folder = folder
        self._limits = limits
        self._on_file = on_file
        self._writing: dict[asyncio.Task[None], _File] = {}
        self._finished_bytes = 0
        #: Set when the files are as large as they may become.
        self.full = asyncio.Event()

    def track(self, track: MediaStreamTrack, info: TrackInfo) -> None:
        """Begins to write a track, until it ends."""
        if self.full.is_set() or len(self._writing) >= self._limits.most_tracks:
            logger.warning("A track is not recorded: the limit is reached.")
            return
        suffix = "ogg" if track.kind == "audio" else "webm"
        # Nothing that a client chose becomes part of a path.
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{info.source}-{secrets.token_hex(4)}.{suffix}"
        file = _File(self._folder / name, track.kind)
        task = asyncio.get_running_loop().create_task(self._write(track, info, file), name="mana-recorder")
        self._writing[task] = file
        task.add_done_callback(self._writing.pop)

    async def stop(self) -> None:
        """Finishes all files."""
        writing = list(self._writing)
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

    async def _write(self, track: MediaStreamTrack, info: TrackInfo, file: _File) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="mana-recorder") as thread:
            try:
                while not self.full.is_set():
                    frame = await track.recv()
                    is_first = file.started_at is None
                    await loop.run_in_executor(thread, file.write, frame)
                    if is_first:
                        self._tell("started", info, file)
                    if (
                        self._finished_bytes + sum(one.bytes for one in self._writing.values())
                        > self._limits.most_bytes
                    ):
                        self.full.set()
            except MediaStreamError:
                pass
            except (av.FFmpegError, OSError) as error:
                logger.warning("A track could not be recorded any more: %s", error)
            finally:
                closing = loop.run_in_executor(thread, file.close)
                while not closing.done():  # whoever stops us waits for that
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([closing])
                if (failure := closing.exception()) is not None:
                    logger.warning("A file could not be finished: %s", failure)
                self._finished_bytes += file.bytes
                if file.started_at is not None:
                    self._tell("finished", info, file)

    def _tell(self, event: str, info: TrackInfo, file: _File) -> None:
        self._on_file(
            {
                "event": event,
                "path": str(file.path),
                "user_id": info.user_id,
                "source": info.source,
                "started_at": file.started_at,
                "seconds": round(file.seconds, 1),
                "bytes": file.bytes,
            }
        )


class _File:
    """A file with one stream; used by one thread at a time."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.started_at: float | None = None
        self.seconds = 0.0
        #: Encoded so far; the file itself grows by whole buffers.
        self.bytes = 0
        self._kind = kind
        self._container: Any = None
        self._stream: Any = None
        self._first: float | None = None
        self._last = -1

    def write(self, frame: Any) -> None:
        """Adds a frame."""
        if self._container is None:
            self._open(frame)
            self.started_at = time.time()
        at = float(frame.pts * frame.time_base)
        self._first = at if self._first is None else self._first
        pts = int((at - self._first) * CLOCKS[self._kind])
        if pts <= self._last:  # a late one
            return
        self._last = pts
        self.seconds = at - self._first
        if self._kind == "video":
            frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        frame.pts, frame.time_base = pts, Fraction(1, CLOCKS[self._kind])
        self._mux(frame)

    def _open(self, frame: Any) -> None:
        self._container = av.open(str(self.path), "w")
        if self._kind == "audio":
            self._stream = self._container.add_stream("libopus", rate=CLOCKS["audio"])
            self._stream.bit_rate = 48_000
        else:
            self._stream = self._container.add_stream("libvpx", rate=30)
            self._stream.width, self._stream.height = frame.width // 2 * 2, frame.height // 2 * 2
            self._stream.pix_fmt = "yuv420p"
            self._stream.bit_rate = 1_500_000
            self._stream.options = {"deadline": "realtime", "cpu-used": "8"}
        self._stream.codec_context.time_base = Fraction(1, CLOCKS[self._kind])

    def close(self) -> None:
        """Writes what the encoder still has."""
        if self._container is not None:
            container, self._container = self._container, None
            try:
                container.mux(self._stream.encode(None))
            finally:
                container.close()
                self.bytes = self.path.stat().st_size

    def _mux(self, frame: Any) -> None:
        packets = self._stream.encode(frame)
        self.bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)
