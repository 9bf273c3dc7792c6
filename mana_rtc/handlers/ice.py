"""The frame that asks for STUN and TURN servers."""

from __future__ import annotations

from mana.protocol.client import IceServersRequest
from mana.protocol.server import IceServers
from mana.realtime.dispatch import handles
from mana.realtime.session import Session
from mana_rtc.ice import ice_servers


@handles(IceServersRequest)
async def servers(session: Session, frame: IceServersRequest) -> IceServers:
    """Answers with what an ``RTCPeerConnection`` is made with."""
    answer = ice_servers(session.user_id)
    answer.ack_id = frame.ack_id
    return answer
