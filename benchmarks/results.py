"""``RESULTS.md``: a section for each benchmark, written anew without touching the others."""

from __future__ import annotations

import re
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def write_section(heading: str, text: str) -> None:
    """Puts ``text``, which begins with ``heading``, in the place of the section before it, or at the end."""
    assert text.startswith(f"{heading}\n")
    results = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    before = re.search(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", results, re.MULTILINE | re.DOTALL)
    if before is None:
        results = f"{results.rstrip()}\n\n{text}"
    else:
        results = f"{results[: before.start()]}{text.rstrip()}\n\n{results[before.end() :]}"
    RESULTS.write_text(results.rstrip() + "\n")
    print(f"written to {RESULTS}")
