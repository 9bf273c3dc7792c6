"""TURN credentials of ours at a real coturn: peers that may use relays only, and what coturn refuses."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from mana.protocol.server import IceServers
from mana_rtc.ice import credentials, ice_servers
from tests.rtc.turn.instance import SECRET, Coturn

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def told(settings: Any, coturn: Coturn) -> None:
    """Clients are told of it, and to use nothing else."""
    settings.MANA = {
        **settings.MANA,
        "TURN_SERVERS": [coturn.url],
        "TURN_SECRET": SECRET,
        "ICE_TRANSPORT_POLICY": "relay",
    }


def peer(found: IceServers) -> RTCPeerConnection:
    """What a client makes of what it is told."""
    assert found.ice_transport_policy == "relay"
    (server,) = found.ice_servers
    return RTCPeerConnection(
        RTCConfiguration(
            iceServers=[RTCIceServer(urls=server.urls, username=server.username, credential=server.credential)],
            iceTransportPolicy=RTCIceTransportPolicy.RELAY,
        )
    )


async def test_two_peers_meet_through_the_relay_alone(coturn: Coturn) -> None:
    one, other = peer(ice_servers("ann")), peer(ice_servers("ben"))
    got: asyncio.Queue[Any] = asyncio.Queue()
    try:
        other.on("datachannel", lambda channel: channel.on("message", got.put_nowait))
        channel = one.createDataChannel("talk")
        channel.on("open", lambda: channel.send("hello"))
        await one.setLocalDescription(await one.createOffer())
        await other.setRemoteDescription(RTCSessionDescription(one.localDescription.sdp, "offer"))
        await other.setLocalDescription(await other.createAnswer())
        await one.setRemoteDescription(RTCSessionDescription(other.localDescription.sdp, "answer"))
        for side in (one, other):
            lines = [line for line in side.localDescription.sdp.splitlines() if line.startswith("a=candidate")]
            assert lines
            assert all(" typ relay" in line for line in lines), lines
        async with asyncio.timeout(20):
            assert await got.get() == "hello"
    finally:
        await asyncio.gather(one.close(), other.close())
    assert ":ann>" in coturn.log  # the user's id is in the name, for the operator's eyes


@pytest.mark.parametrize(
    ("name", "password"),
    [
        credentials("ann", SECRET, time.time() - 10),
        credentials("ann", "a guess", time.time() + 600),
        (f"{int(time.time()) + 99999}:ann", credentials("ann", SECRET, time.time() + 600)[1]),
        (credentials("ben", SECRET, time.time() + 600)[0], credentials("ann", SECRET, time.time() + 600)[1]),
    ],
    ids=["expired", "forged", "a later end", "somebody else's"],
)
async def test_credentials_that_are_not_ours_get_no_relay(name: str, password: str) -> None:
    found = ice_servers("ann")
    found.ice_servers[0].username, found.ice_servers[0].credential = name, password
    one = peer(found)
    try:
        one.createDataChannel("talk")
        await one.setLocalDescription(await one.createOffer())
        assert "a=candidate" not in one.localDescription.sdp
    finally:
        await one.close()
