"""A world of people with encryption."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.e2ee_client.people import World
from tests.support.server import Server


@pytest_asyncio.fixture
async def world(server: Server) -> AsyncIterator[World]:
    """People on the node that all tests share."""
    made = World(server)
    yield made
    await made.end()
