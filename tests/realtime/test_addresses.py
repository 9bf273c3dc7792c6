"""Limits count where a connection really comes from: nobody names an address for themselves."""

from __future__ import annotations

import pytest

from mana.realtime.addresses import client_address

PROXIES = ["10.0.0.0/8", "2001:db8:1::/48"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("203.0.113.7", "", [], "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", [], "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", PROXIES, "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", PROXIES, "10.0.0.3"),
        ("10.0.0.1", "", PROXIES, "10.0.0.1"),
        ("10.0.0.1", "nonsense", PROXIES, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", PROXIES, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "[2001:db8:2::5]:4711", PROXIES, "2001:db8:2::"),
        ("::ffff:203.0.113.7", "", [], "203.0.113.7"),
        ("2001:db8:7:8:9:a:b:c", "", [], "2001:db8:7:8::"),
        ("2001:db8:1::1", "198.51.100.1", PROXIES, "198.51.100.1"),
        (None, "198.51.100.1", [], ""),
        (None, "198.51.100.1", ["unix"], "198.51.100.1"),
        ("", "", ["unix"], ""),
        ("testclient", "", [], ""),
    ],
)
def test_the_address_that_counts(peer: str | None, forwarded: str, trusted: list[str], expected: str) -> None:
    assert client_address(peer, forwarded, trusted) == expected
