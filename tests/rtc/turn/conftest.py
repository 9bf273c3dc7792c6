"""coturn, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rtc.turn.instance import Coturn
from tests.support.services import require


@pytest.fixture(scope="session")
def coturn() -> Iterator[Coturn]:
    """One that runs."""
    require("coturn")
    made = Coturn()
    try:
        made.start()
        yield made
    finally:
        made.close()
