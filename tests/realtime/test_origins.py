"""Which origins may open a socket, pattern by pattern."""

from __future__ import annotations

import pytest

from mana.realtime.origins import is_allowed


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        ("https://chat.example.com", "https://*.example.com", True),
        ("https://a.b.example.com", "https://*.example.com", True),
        ("https://chat.example.com:8443", "https://*.example.com:8443", True),
        ("https://example.com", "https://*.example.com", False),
        ("https://example.com", "https://example.com", True),
        ("https://chat.example.com:8443", "https://*.example.com", False),
        ("http://chat.example.com", "https://*.example.com", False),
        ("https://evilexample.com", "https://*.example.com", False),
        ("https://chat.example.com.evil.org", "https://*.example.com", False),
        ("https://chat.example.com", "https://*", False),
        ("null", "https://*.example.com", False),
    ],
)
def test_a_pattern_allows_what_it_says_and_nothing_else(origin: str, allowed: str, expected: bool) -> None:
    assert is_allowed(origin, "other.example.org", [allowed]) is expected
