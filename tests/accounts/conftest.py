"""Servers with other settings, and people without an account."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving


@pytest.fixture(scope="package")
def strict_server() -> Iterator[Server]:
    """A node that lets guests in, asks for e-mail addresses, and limits attempts."""
    settings = {
        "MANA_GUESTS": "true",
        "MANA_EMAIL": "required",
        "MANA_SIGN_IN_RATE": "3/minute",
        "MANA_REGISTRATION_RATE": "6/hour",
        "MANA_SEARCH_RATE": "4/minute",
        "MANA_PASSWORD_RESET_RATE": "2/hour",
    }
    with databases.fresh("sqlite") as url, serving(url, **settings) as running:
        yield running


@pytest.fixture
def anonymous(server: Server) -> httpx.Client:
    """Somebody without an account."""
    client = httpx.Client(base_url=server.http, timeout=30)
    Account.opened.append(client)
    return client


@pytest.fixture
def stranger(strict_server: Server) -> httpx.Client:
    """Somebody without an account, at the strict server."""
    client = httpx.Client(base_url=strict_server.http, timeout=30)
    Account.opened.append(client)
    return client
