"""Looks at what a node leans on, each with a time-out and never two of a kind at once."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer
from django.apps import apps
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from mana.conf import settings
from mana.layers.topics import TopicChannelLayer
from mana.messaging.timeline import database as messages_database
from mana.observability.figures import Figures
from mana.realtime import hub as hubs
from mana.realtime.bus import connects_processes

logger = logging.getLogger("mana.observability")
T = TypeVar("T")

PROBE_TYPE = "mana.health"


class Failed(Exception):
    """A look that did not find what it should; the text is for whoever operates the site."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look found."""

    ok: bool
    detail: str = ""
    seconds: float = 0.0


async def look(probe: Callable[[], Awaitable[str]], name: str) -> Finding:
    """What a probe found, within ``HEALTH_TIMEOUT``. Never raises."""
    begun = perf_counter()
    try:
        async with asyncio.timeout(settings.HEALTH_TIMEOUT):
            detail = await probe()
    except TimeoutError:
        return Finding(False, f"no answer within {settings.HEALTH_TIMEOUT:g} s", perf_counter() - begun)
    except Failed as failure:
        return Finding(False, str(failure), perf_counter() - begun)
    except Exception as error:
        logger.warning("The look at the %s failed: %s", name, error)
        return Finding(False, f"{type(error).__name__}: {error}".strip().splitlines()[0], perf_counter() - begun)
    return Finding(True, detail, perf_counter() - begun)


# -- The database ----------------------------------------------------------------------------------------------------


class DatabaseThread:
    """One thread for the looks at the database. A call that hangs there lets no second one pile up behind it."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="mana-health")
        self._running: Future[Any] | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """``function()``. Raises ``Failed`` while an earlier call has not come back."""
        if self._running is not None and not self._running.done():
            raise Failed("an earlier look has not come back yet")
        self._running = future = self._executor.submit(_with_own_connection, function)
        return await asyncio.shield(asyncio.wrap_future(future))


def _with_own_connection(function: Callable[[], T]) -> T:
    # A connection of its own each time: that one can be opened is part of the question.
    try:
        return function()
    finally:
        connections.close_all()


database_thread = DatabaseThread()
_migrated: set[str] = set()


async def database() -> str:
    """Whether the database answers and has the tables that this code needs."""
    await database_thread.run(_look_at_database)
    return ""


def _look_at_database() -> None:
    alias = messages_database()
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    if alias not in _migrated:  # they don't go away again
        missing = unapplied_migrations(alias)
        if missing:
            raise Failed(f"not migrated: {', '.join(missing)}; run manage.py migrate")
        _migrated.add(alias)


def unapplied_migrations(alias: str) -> list[str]:
    """The migrations of mana's apps that the database has not seen."""
    labels = {
        app.label for app in apps.get_app_configs() if app.name.split(".")[0] in ("mana", "mana_rtc", "mana_e2ee")
    }
    loader = MigrationLoader(connections[alias], ignore_no_migrations=True)
    return sorted(
        f"{label}.{name}"
        for label, name in loader.graph.nodes
        if label in labels and (label, name) not in loader.applied_migrations
    )


# -- The channel layer -----------------------------------------------------------------------------------------------


class LayerProbe:
    """Sends a message to itself over the channel layer of an event loop, always on the same channel."""

    def __init__(self) -> None:
        self._channel = ""
        self._numbers = itertools.count(1)

    async def __call__(self) -> str:
        """The name of the layer's class. Raises what the layer raises."""
        layer = get_channel_layer(settings.CHANNEL_LAYER)
        if layer is None:
            raise Failed(f"CHANNEL_LAYERS has no {settings.CHANNEL_LAYER!r}")
        if not connects_processes(layer):
            return "in memory: this process only"
        try:
            if isinstance(layer, TopicChannelLayer):
                await layer.ping()  # what it sends to itself stays in the process
            else:
                await self._round_trip(layer)
        except BaseException:
            self._channel = ""
            raise
        return type(layer).__name__

    async def _round_trip(self, layer: Any) -> None:
        if not self._channel:
            self._channel = await layer.new_channel()
        number = next(self._numbers)
        waiting = asyncio.ensure_future(self._until(layer, number))
        try:
            while not waiting.done():
                # Layers without a store deliver only to who is waiting already: the first may be lost.
                await layer.send(self._channel, {"type": PROBE_TYPE, "number": number})
                await asyncio.wait([waiting], timeout=0.1)
            waiting.result()
        finally:
            waiting.cancel()

    async def _until(self, layer: Any, number: int) -> None:
        while True:
            message = await layer.receive(self._channel)
            if message.get("number") == number:
                return


_layer_probes: WeakKeyDictionary[asyncio.AbstractEventLoop, LayerProbe] = WeakKeyDictionary()


async def layer() -> str:
    """Whether the channel layer carries a message, from the loop that serves sockets, if there is one."""
    here = asyncio.get_running_loop()
    serving = next((hub.loop for hub in hubs.running() if hub.loop.is_running()), here)
    probe = _layer_probes.setdefault(serving, LayerProbe())
    if serving is here:
        return await probe()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_run(probe), serving))


async def _run(probe: LayerProbe) -> str:
    return await probe()


# -- This process ----------------------------------------------------------------------------------------------------


def bus(now: Figures) -> Finding:
    """Whether this node hears the others."""
    if now.bus_connected is False:
        return Finding(False, "this node is not in the group of nodes; events come from the database")
    return Finding(True, "alone" if now.bus_connected is None else "")


def writer(now: Figures) -> Finding:
    """Whether messages are being committed."""
    if now.writer_busy > settings.WRITER_STUCK_AFTER:
        return Finding(
            False, f"at one transaction for {now.writer_busy:.1f} s, {now.writer_queue} messages wait", now.writer_busy
        )
    return Finding(True)


def drain(now: Figures) -> Finding:
    """Whether this node still takes sockets."""
    return Finding(False, "this node is going away") if now.draining else Finding(True)
