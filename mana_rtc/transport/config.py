"""Where the media sockets are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TransportConfig:
    """Where to listen, and what to tell clients of it.

    ``addresses`` are local IP addresses, empty for all of this machine; ``port`` 0 takes a free one. ``announced`` are
    the addresses that clients are given instead, as behind NAT: ``ip`` or ``ip:port``, ``[ip]:port`` for IPv6.
    """

    addresses: tuple[str, ...] = ()
    port: int = 0
    announced: tuple[str, ...] = ()
    udp: bool = True
    tcp: bool = True
    accelerated: bool = False
