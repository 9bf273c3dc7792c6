"""The SFU of a development server: a thread of the ASGI process with a loop of its own, so that media waits for
nobody's database and nobody's database waits for media. In production media runs in worker processes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from mana_rtc.sfu.backend import Event, Joined, Listener, ParticipantInfo, SfuError, Source, Wish
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.engine import Engine
from mana_rtc.sfu.meter import Meter

logger = logging.getLogger("mana.rtc")
T = TypeVar("T")

#: Seconds that the thread has to bind its sockets, and to end.
START_TIMEOUT = 15.0
STOP_TIMEOUT = 5.0


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, which turns over quicker, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class EmbeddedSfu:
    """Implements ``SfuBackend`` for callers in any event loop. The thread begins with the first command.

    ``listener`` is called in the media thread; it must hand over quickly.
    """

    def __init__(self, config: SfuConfig, listener: Listener) -> None:
        self._config = config
        self._listener = listener
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._engine: Engine | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._stopped = False
        #: What the engine has to do; ``None`` until it runs.
        self.meter: Meter | None = None

    def start(self) -> None:
        """Starts the thread, if it does not run. Blocks for the moment that binding takes. Raises ``SfuError``."""
        with self._lock:
            is_dead = self._thread is None or not self._thread.is_alive()
            if self._engine is None and is_dead and not self._stopped:  # also when it could not bind before
                self._started.clear()
                self._failure = None
                self._thread = threading.Thread(target=self._run, name="mana-rtc-media", daemon=True)
                self._thread.start()
        self._started.wait(START_TIMEOUT)
        if self._engine is None:
            raise SfuError(f"The media server could not be started: {self._failure}")

    def _run(self) -> None:
        loop = self._loop = new_loop()
        asyncio.set_event_loop(loop)
        try:
            engine = loop.run_until_complete(self._start_engine())
        except BaseException as error:
            logger.exception("The media server could not be started.")
            self._failure = error
            loop.close()
            self._started.set()
            return
        self.meter = Meter(engine)
        self._engine = engine
        self._started.set()
        try:
            loop.run_forever()
            loop.run_until_complete(engine.stop())
        finally:
            loop.close()

    async def _start_engine(self) -> Engine:
        engine = Engine(self._config, self._tell)
        await engine.start()
        logger.info("Media on port %d, %s.", engine.mux.port, type(engine.loop).__module__)
        return engine

    def _tell(self, event: Event) -> None:
        try:
            self._listener(event)
        except Exception:
            logger.exception("An event of the SFU could not be handed over.")

    def stop(self) -> None:
        """Ends the thread, for good. Blocks until it did."""
        self._stopped = True
        if self._thread is not None and self._loop is not None and self._engine is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_TIMEOUT)
            self._engine = self.meter = None

    @property
    def port(self) -> int:
        """Where media comes and goes, once started."""
        return self._engine.mux.port if self._engine is not None else 0

    @property
    def engine(self) -> Engine:
        """The engine in the thread, started if need be. Raises ``SfuError``."""
        if self._engine is None:
            self.start()
        assert self._engine is not None
        return self._engine

    async def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def join(self, room: str, participant: ParticipantInfo) -> Joined:
        """See ``SfuBackend``."""
        engine = await asyncio.to_thread(lambda: self.engine)  # which may have to be started
        return await self._in_thread(engine.join(room, participant))

    async def resume(self, room: str, participant: str) -> Joined:
        """See ``SfuBackend``."""
        return await self._in_thread(self.engine.resume(room, participant))

    async def publish(self, room: str, participant: str, sdp: str, sources: dict[str, Source]) -> str:
        """See ``SfuBackend``."""
        return await self._in_thread(self.engine.publish(room, participant, sdp, sources))

    async def ready(self, room: str, participant: str) -> None:
        """See ``SfuBackend``."""
        await self._in_thread(self.engine.ready(room, participant))

    async def answer(self, room: str, participant: str, sdp: str, number: int) -> None:
        """See ``SfuBackend``."""
        await self._in_thread(self.engine.answer(room, participant, sdp, number))

    async def subscribe(self, room: str, participant: str, wishes: dict[str, Wish]) -> None:
        """See ``SfuBackend``."""
        await self._in_thread(self.engine.subscribe(room, participant, wishes))

    async def restart(self, room: str, participant: str) -> None:
        """See ``SfuBackend``."""
        await self._in_thread(self.engine.restart(room, participant))

    async def leave(self, room: str, participant: str, reason: str = "left") -> None:
        """See ``SfuBackend``."""
        await self._in_thread(self.engine.leave(room, participant, reason))

    async def statistics(self, room: str) -> dict[str, Any]:
        """See ``SfuBackend``."""
        return await self._in_thread(self.engine.statistics(room))
