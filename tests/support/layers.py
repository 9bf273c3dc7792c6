"""Channel layers of this project's, by the name of their server."""

from __future__ import annotations

import asyncio

from mana.layers.nats import NatsChannelLayer
from mana.layers.redis import RedisChannelLayer
from mana.layers.topics import TopicChannelLayer


def layer_of(kind: str, url: str) -> TopicChannelLayer:
    """A layer over ``nats`` or ``redis``."""
    return NatsChannelLayer([url]) if kind == "nats" else RedisChannelLayer(url)


async def received(layer: TopicChannelLayer, channel: str) -> dict[str, object]:
    """The next message of a channel. Raises ``TimeoutError`` if there is none within 5 s."""
    return await asyncio.wait_for(layer.receive(channel), 5)
