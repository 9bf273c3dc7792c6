"""Where a connection comes from, behind whatever proxies the project trusts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

#: One subscriber has at least so much of IPv6; counting single addresses would count nobody.
IPV6_SUBSCRIBER = 64


def client_address(peer: str | None, forwarded_for: str, trusted_proxies: Iterable[str]) -> str:
    """The address that limits count for: the first of an IPv6 /64; empty for a Unix socket that is no trusted proxy.

    ``peer`` is the other end of the connection. ``forwarded_for`` is ``X-Forwarded-For``, to which each proxy has
    added whom it was asked by; it is read from the right for as long as a trusted proxy added it, and not at all where
    the peer is none. ``trusted_proxies`` are networks, and ``unix`` for a Unix socket.
    """
    networks, trusts_unix = _networks(tuple(trusted_proxies))
    current = _parse(peer)
    if not (trusts_unix if current is None else _is_in(current, networks)):
        return _bucket(current)
    for part in reversed(forwarded_for.split(",")):
        earlier = _parse(part.strip())
        if earlier is None:
            break
        current = earlier
        if not _is_in(current, networks):
            break
    return _bucket(current)


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[list[object], bool]:
    return [ip_network(text, strict=False) for text in texts if text != "unix"], "unix" in texts


def _is_in(address: Address, networks: list[object]) -> bool:
    return any(address in network for network in networks)  # type: ignore[operator]


def _parse(text: str | None) -> Address | None:
    if not text:
        return None
    if text.startswith("["):  # [2001:db8::1]:1234
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _bucket(address: Address | None) -> str:
    if address is None:
        return ""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, IPV6_SUBSCRIBER), strict=False).network_address)
    return str(address)
