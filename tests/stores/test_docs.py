"""The Python of the pages about people runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


@pytest.mark.parametrize(
    "page", ["accounts", "contacts", "preferences", "notifications", "stores", "calls", "examples"]
)
def test_the_examples_of_a_page_run(page: str) -> None:
    names: dict[str, Any] = {"__name__": "docs"}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:
        if "myproject" not in block:
            exec(compile(block, f"docs/{page}.md", "exec"), names)
    if page == "preferences":
        for key in ("shop.newsletter", "shop.sort"):
            names["preferences"].unregister(key)
