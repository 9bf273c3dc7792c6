"""All peers of a worker on one port: a datagram finds its peer by the address that it comes from, a STUN check by the
user name in it. Who has not proved ICE's password has no address here: nothing is kept of them and nothing is answered.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable

import ifaddr

from mana_rtc.transport import stun
from mana_rtc.transport.aiortc_parts import Identity
from mana_rtc.transport.config import TransportConfig
from mana_rtc.transport.ice import Generation
from mana_rtc.transport.peer import PeerHandler, PeerTransport
from mana_rtc.transport.tcp import TcpEndpoint, TcpPath
from mana_rtc.transport.udp import Address, UdpEndpoint, UdpPath

logger = logging.getLogger("mana.rtc")

#: Seconds for which an address belongs to the peer that was heard from there, whoever else names it as theirs.
ADDRESS_HELD = 10.0
#: Type preferences of candidates (RFC 8445 section 5.1.2.1): TCP only where UDP fails.
UDP_PREFERENCE, TCP_PREFERENCE = 126, 90


#: Times that another port is tried where the system chooses it: one that is free for UDP may be taken for TCP.
PORT_TRIES = 10


class Mux:
    """The sockets of a worker and who is behind them. ``start`` binds; use it from its loop only."""

    def __init__(self, config: TransportConfig, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self.identity = Identity()
        self.port = config.port
        self.peers: set[PeerTransport] = set()
        #: Datagrams from nobody known that were dropped.
        self.strays = 0
        self._ufrags: dict[str, PeerTransport] = {}
        self._udp: list[UdpEndpoint] = []
        self._tcp = TcpEndpoint(loop, self._stun_tcp)
        self._addresses: list[str] = []

    async def start(self) -> None:
        """Binds all addresses to the same port. Raises ``OSError`` if one can't be."""
        self._addresses = list(self._config.addresses) or local_addresses()
        for left in reversed(range(1 if self._config.port else PORT_TRIES)):
            try:
                await self._bind()
            except OSError:
                self.close()
                if not left:
                    raise
                self.port = self._config.port
            else:
                return

    async def _bind(self) -> None:
        for address in self._addresses:
            if self._config.udp:
                endpoint = UdpEndpoint(self._loop, (address, self.port), self._unrouted)
                self._udp.append(endpoint)
                self.port = self.port or endpoint.local[1]
            if self._config.tcp:
                self.port = await self._tcp.listen(address, self.port)

    def candidates(self) -> tuple[str, ...]:
        """The values of a=candidate (RFC 8839 section 5.1)."""
        made: list[str] = []
        told = [_split(one, self.port) for one in self._config.announced] or [
            (address, self.port) for address in self._addresses
        ]
        for index, (host, port) in enumerate(told):
            local = 65535 - index
            if self._config.udp:
                made.append(f"{index + 1} 1 udp {_priority(UDP_PREFERENCE, local)} {host} {port} typ host")
            if self._config.tcp:
                made.append(
                    f"{index + 101} 1 tcp {_priority(TCP_PREFERENCE, local)} {host} {port} typ host tcptype passive"
                )
        return tuple(made)

    def new_peer(self, handler: PeerHandler, *, max_channels: int = 0) -> PeerTransport:
        """A transport for one more peer connection."""
        peer = PeerTransport(
            self.identity,
            handler,
            accelerated=self._config.accelerated,
            register=self._register,
            max_channels=max_channels,
        )
        self.peers.add(peer)
        return peer

    def forget(self, peer: PeerTransport) -> None:
        """A transport was closed."""
        self.peers.discard(peer)
        self._ufrags = {ufrag: one for ufrag, one in self._ufrags.items() if one is not peer}

    def _register(self, peer: PeerTransport, generation: Generation) -> None:
        # What an earlier restart left behind goes with it.
        for ufrag in [one for one, owner in self._ufrags.items() if owner is peer and not peer.ice.generation(one)]:
            del self._ufrags[ufrag]
        self._ufrags[generation.ufrag] = peer

    # -- STUN --------------------------------------------------------------------------------------------------------

    def _unrouted(self, endpoint: UdpEndpoint, address: Address, data: bytes, now: float) -> None:
        known = endpoint.routes.get(address)
        message = _parse(data)
        if message is None:
            self.strays += 1
        elif message.kind == stun.BINDING_REQUEST:
            peer = self._ufrags.get(message.username.partition(":")[0])
            if peer is None:
                self.strays += 1
                return
            if known is not None and known.peer is not peer and now - known.last_seen < ADDRESS_HELD:
                # Somebody who is in a call names an address that is another's: theirs it stays.
                self.strays += 1
                return
            self._request(peer, lambda: endpoint.path(address, peer), message, now)
        elif known is not None:
            known.peer.receive_response(known, message, now)
        else:
            self.strays += 1

    def _request(self, peer: PeerTransport, make: Callable[[], UdpPath], message: stun.Message, now: float) -> None:
        generation = peer.ice.generation(message.username.partition(":")[0])
        if generation is None or not message.verify(generation.pwd):
            self.strays += 1  # before an address is remembered for it
            return
        path = make()
        if not peer.receive_request(path, message, now) and path not in peer.ice.paths:
            path.close()

    def _stun_tcp(self, path: TcpPath, data: bytes, now: float) -> None:
        message = _parse(data)
        if message is None:
            self.strays += 1
        elif message.kind == stun.BINDING_REQUEST:
            peer = path.peer or self._ufrags.get(message.username.partition(":")[0])
            if peer is not None and peer.receive_request(path, message, now):
                path.bind(peer)
            else:
                self.strays += 1
        elif path.peer is not None:
            path.peer.receive_response(path, message, now)

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel had no room for."""
        return sum(endpoint.dropped for endpoint in self._udp)

    def close(self) -> None:
        """Closes the sockets. Peers are to be closed before."""
        for endpoint in self._udp:
            endpoint.close()
        self._tcp.close()
        self._udp.clear()


def _parse(data: bytes) -> stun.Message | None:
    if data[0] > 3:
        return None
    try:
        return stun.parse(data)
    except ValueError:
        return None


def _priority(preference: int, local: int) -> int:
    return preference << 24 | local << 8 | 255


def _split(text: str, port: int) -> Address:
    """``ip``, ``ip:port``, ``[ip]:port``."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:]) if rest else port
    if text.count(":") == 1:
        host, _, rest = text.partition(":")
        return host, int(rest)
    return text, port


def local_addresses() -> list[str]:
    """The addresses of this machine that others can reach; its loopback address if there is no other."""
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text)
            if not address.is_loopback and not address.is_link_local:
                found.append(text)
    return found or ["127.0.0.1"]
