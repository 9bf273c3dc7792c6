"""Nodes, media workers and bots: real processes on loopback, to be killed and frozen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from mana_rtc.callbot import CallBot
from mana_rtc.sfu.backend import TrackInfo
from tests.rtc.bots import PacketTrack
from tests.support import databases, freezing
from tests.support.client import Account
from tests.support.databases import ROOT
from tests.support.server import Server, free_port, serving

#: What nodes and workers of a test need to know.
ENVIRONMENT = {
    "MANA_RTC_BACKEND": "mana_rtc.backends.workers",
    "MANA_RTC_ADDRESSES": "127.0.0.1",
    "MANA_RTC_RESUME_TIMEOUT": "4",
    "LOG_LEVEL": "INFO",
}


class Worker:
    """A ``manage.py mana_sfu`` process. ``start`` returns when it has told the cluster."""

    def __init__(self, database_url: str, *options: str, **environment: str) -> None:
        self.database_url = database_url
        self.options = options
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        with NamedTemporaryFile(prefix="mana-sfu-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)

    @property
    def log(self) -> str:
        """What it printed."""
        return self._log.read_text(errors="replace")

    @property
    def id(self) -> str:
        """The newest process's name in the cluster."""
        return re.findall(r"Media worker (\S+) on port", self.log)[-1]

    def start(self) -> Worker:
        """Starts it, or another one in its place."""
        before = self.log.count("Media worker ")
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": self.database_url,
            "PYTHONWARNINGS": "ignore",
            **self.environment,
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "mana_sfu", *self.options],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 120
        while self.log.count("Media worker ") == before:
            assert self.process.poll() is None, f"It does not start:\n{self.log}"
            assert time.monotonic() < deadline, f"It does not start:\n{self.log}"
            time.sleep(0.05)
        return self

    def send(self, number: int) -> None:
        """Sends a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP."""
        assert self.process is not None
        freezing.freeze(self.process.pid)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        freezing.thaw(self.process.pid)

    def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(20)

    def stop(self) -> None:
        """Sees to its end."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        self._log.unlink(missing_ok=True)


@contextlib.contextmanager
def working(database_url: str, *options: str, **environment: str) -> Iterator[Worker]:
    """A worker for the length of a block."""
    worker = Worker(database_url, *options, **environment)
    try:
        yield worker.start()
    finally:
        worker.stop()


class Cluster:
    """Two nodes on one database and one layer. Workers are started by tests that want more than the first one."""

    def __init__(self, database_url: str, environment: dict[str, str]) -> None:
        self.database_url = database_url
        self.environment = environment
        self.stack = contextlib.ExitStack()
        self.nodes: list[Server] = []
        self.workers: list[Worker] = []

    def add_node(self) -> Server:
        """One more node."""
        self.nodes.append(self.stack.enter_context(serving(self.database_url, **self.environment)))
        return self.nodes[-1]

    def add_worker(self, *options: str) -> Worker:
        """One more worker, there for the rest of the cluster's life."""
        self.workers.append(self.stack.enter_context(working(self.database_url, *options, **self.environment)))
        return self.workers[-1]

    def staff(self) -> None:
        """Sees to it that there are two workers, each with metrics of its own, and that all live."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is not None:
                worker.start()
        while len(self.workers) < 2:
            self.add_worker("--name", f"worker {len(self.workers) + 1}", "--metrics", f"127.0.0.1:{free_port()}")


def worker_of(cluster: Cluster, room: str) -> Worker:
    """The worker that has a room."""
    lines = databases.manage(
        "shell",
        "-v0",
        "-c",
        f"from mana_rtc.models import Placement; print(Placement.objects.get(room_key={room!r}).worker_id)",
        database_url=cluster.database_url,
    )
    return next(worker for worker in cluster.workers if worker.id == lines.split()[-1])


def signals(cluster: Cluster, key: str) -> list[str]:
    """The signals of a call that any node sent."""
    lines = Path(cluster.environment["TEST_CALL_JOURNAL"]).read_text().splitlines()
    return [line.removeprefix(f"{key} ") for line in lines if line.startswith(f"{key} ")]


class Listener:
    """A bot with a microphone that counts the packets of each user whom it hears."""

    def __init__(self, account: Account, *nodes: Server, device_id: str = "") -> None:
        self.account = account
        self.heard: dict[str, int] = {}
        self.frames: list[dict[str, Any]] = []
        self._reading: set[asyncio.Task[None]] = set()
        self.bot = CallBot(
            [node.ws for node in nodes],
            lambda: account.access,
            make_tracks=lambda: {"microphone": PacketTrack("audio", per_second=50)},
            on_track=self._listen,
            on_frame=self.frames.append,
            device_id=device_id,
        )

    def _listen(self, track: MediaStreamTrack, info: TrackInfo) -> None:
        task = asyncio.get_running_loop().create_task(self._count(track, info.user_id))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _count(self, track: MediaStreamTrack, user: str) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.heard[user] = self.heard.get(user, 0) + 1

    def close(self) -> None:
        """Ends what reads."""
        for task in self._reading:
            task.cancel()


@contextlib.asynccontextmanager
async def in_call(room: str, *listeners: Listener) -> AsyncIterator[None]:
    """Bots in the media of a room."""
    async with contextlib.AsyncExitStack() as stack:
        for one in listeners:
            await stack.enter_async_context(one.bot)
            stack.callback(one.close)
        await asyncio.gather(*(one.bot.join(room) for one in listeners))
        yield


async def all_hear_all(*listeners: Listener, seconds: float = 20, packets: int = 5) -> float:
    """Waits until each bot has new packets of each other one; the seconds that it took."""
    began = time.monotonic()
    before = {one: dict(one.heard) for one in listeners}

    def done() -> bool:
        return all(
            one.heard.get(other.account.id, 0) >= before[one].get(other.account.id, 0) + packets
            for one in listeners
            for other in listeners
            if one is not other
        )

    await until(
        done, "everybody hears everybody", seconds, lambda: str([(one.bot.joins, one.heard) for one in listeners])
    )
    return time.monotonic() - began


async def until(
    condition: Callable[[], Any], what: str, seconds: float = 20, situation: Callable[[], str] = lambda: ""
) -> None:
    """Waits until something is so."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"Not in {seconds} s: {what} {situation()}") from None
