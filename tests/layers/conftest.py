"""What the tests of channel layers share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves behind is found while it is known whose it is."""
    yield
    gc.collect()
