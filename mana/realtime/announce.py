"""Announcing from anywhere: the event loop, a thread of the server, a management command, a task queue."""

from __future__ import annotations

import asyncio
import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from mana.conf import settings
from mana.realtime import hub as hubs
from mana.realtime import tracing
from mana.realtime.announcements import Announcement
from mana.realtime.bus import GROUP, SEND_TIMEOUT, connects_processes, message_for

logger = logging.getLogger("mana.bus")


def announce(announcements: list[Announcement]) -> None:
    """Has announcements delivered on all nodes. Call it after the commit; it never raises and never blocks a loop.

    Without a hub in this process it publishes once over the channel layer, in a synchronous caller before it returns.
    """
    if not announcements:
        return
    if tracing.tracer is not None:
        tracing.tracer.stamp(announcements)
    local = hubs.running()
    if local:
        _hand_over(local, announcements)
        return
    layer = get_channel_layer(settings.CHANNEL_LAYER)
    if not connects_processes(layer):
        return  # a server in another process finds the events in the database
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        # In a loop of its own: on the server's, which async_to_sync would take, the project's consumers use the layer.
        async_to_sync(_publish_and_close, force_new_loop=True)(announcements)
    else:
        task = loop.create_task(_publish_once(announcements))
        _publishing.add(task)  # the event loop itself keeps only a weak reference
        task.add_done_callback(_publishing.discard)


def _hand_over(local: list[hubs.Hub], announcements: list[Announcement]) -> None:
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    for position, hub in enumerate(local):
        # Only one of the hubs of a process needs to tell the other nodes.
        deliver = hub.announce if position == 0 else hub.receive
        if hub.loop is here:
            deliver(announcements)
        elif not hub.loop.is_closed():
            hub.loop.call_soon_threadsafe(deliver, announcements)


_publishing: set[asyncio.Task[None]] = set()


async def _publish_once(announcements: list[Announcement]) -> None:
    layer = get_channel_layer(settings.CHANNEL_LAYER)
    try:
        await asyncio.wait_for(layer.group_send(GROUP, message_for(announcements, "")), SEND_TIMEOUT)
    except Exception as error:
        logger.warning("%d announcements were not published: %s", len(announcements), error)


async def _publish_and_close(announcements: list[Announcement]) -> None:
    await _publish_once(announcements)
    layer = get_channel_layer(settings.CHANNEL_LAYER)
    if hasattr(layer, "close_pools"):
        try:
            await asyncio.wait_for(layer.close_pools(), SEND_TIMEOUT)
        except Exception as error:
            logger.info("The channel layer was not left cleanly: %s", error)
