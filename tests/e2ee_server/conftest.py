"""People with devices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.cache import cache

from tests.e2ee_server.clients import Person
from tests.support.client import Account


@pytest.fixture(autouse=True)
def forget_attempts() -> None:
    """Primary keys come again after a rollback; what was counted for them must not."""
    cache.clear()


@pytest.fixture
def ada(account: Callable[..., Account]) -> Person:
    """Somebody with a phone and a laptop."""
    return Person(account(), "phone", "laptop")


@pytest.fixture
def bob(account: Callable[..., Account]) -> Person:
    """Somebody with a phone of the same name."""
    return Person(account(), "phone")
