"""The media server in a thread of the node's process."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mana_rtc.sfu.backend import ParticipantInfo, SfuError
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.embedded import EmbeddedSfu
from mana_rtc.transport.config import TransportConfig
from tests.support.server import free_port


async def test_a_port_that_was_taken_is_tried_again() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = free_port()  # for TCP as well
        taken.bind(("127.0.0.1", port))
        config = SfuConfig(transport=TransportConfig(addresses=("127.0.0.1",), port=port))
        sfu = EmbeddedSfu(config, lambda event: None)
        for _ in range(2):
            with pytest.raises(SfuError, match="could not be started"):
                await sfu.join("room", ParticipantInfo(id="a", user_id="1", username="ann"))
    joined = await sfu.join("room", ParticipantInfo(id="a", user_id="1", username="ann"))
    assert joined.participants == []
    assert sfu.port == port
    await asyncio.to_thread(sfu.stop)
    with pytest.raises(SfuError):
        await sfu.join("room", ParticipantInfo(id="a", user_id="1", username="ann"))
