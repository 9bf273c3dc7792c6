"""channels_redis, as mana uses it beside a project's own consumers."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from channels_redis.core import RedisChannelLayer

from mana.realtime import hub as hubs
from mana.realtime.announcements import Announcement
from mana.realtime.bus import GROUP, LayerBus, message_for
from tests.support import services


@pytest.mark.django_db(transaction=True)
async def test_a_consumer_of_the_project_that_waits_does_not_keep_the_bus_waiting() -> None:
    services.require("redis")
    prefix = f"test-{uuid4().hex}"
    host = {"address": services.URLS["redis"], "socket_timeout": 15}
    here, there = RedisChannelLayer([host], prefix=prefix), RedisChannelLayer([host], prefix=prefix)
    waiting = asyncio.create_task(here.receive(await here.new_channel()))
    hub = hubs.current()
    bus = LayerBus(hub, here)
    came: asyncio.Queue[Any] = asyncio.Queue()
    hub.receive = came.put_nowait  # type: ignore[method-assign]
    try:
        await bus.start()
        await there.group_send(GROUP, message_for([Announcement(0, "room", '{"type":"typing"}')], "another node"))
        (announcement,) = await asyncio.wait_for(came.get(), 3)
    finally:
        waiting.cancel()
        await bus.stop()
        await there.close_pools()
        await hub.stop()
    assert announcement.room == "room"
