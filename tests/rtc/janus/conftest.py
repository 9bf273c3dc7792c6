"""Janus, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rtc.janus.instance import ADMIN_KEY, API_SECRET, Janus
from tests.support.services import require


@pytest.fixture(scope="session")
def janus() -> Iterator[Janus]:
    """One that runs, also after a test that killed it."""
    require("janus")
    made = Janus()
    try:
        made.start()
        yield made
    finally:
        made.close()


def janus_environment(janus: Janus) -> dict[str, str]:
    """What a node needs to know of it."""
    return {
        "MANA_RTC_BACKEND": "mana_rtc.backends.janus",
        "MANA_JANUS_URL": janus.url,
        "MANA_JANUS_API_SECRET": API_SECRET,
        "MANA_JANUS_ADMIN_KEY": ADMIN_KEY,
    }
