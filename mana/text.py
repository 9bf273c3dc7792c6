"""Text that came as JSON, for where bytes are made of it."""

from __future__ import annotations


def storable(text: str) -> str:
    """``text`` without lone surrogates and nulls: JSON may hold them, UTF-8 and databases do not."""
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")
