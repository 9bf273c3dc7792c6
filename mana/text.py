"""Text that came from outside: for where bytes are made of it, and for names that others are shown."""

from __future__ import annotations

import unicodedata

#: Marks that turn the direction of everything behind them, also of what is not theirs (Unicode TR 36, section 3.3).
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def storable(text: str) -> str:
    """``text`` without lone surrogates and nulls: JSON may hold them, UTF-8 and databases do not."""
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")


def is_presentable(text: str, *, lines: bool = False) -> bool:
    """Whether a name or short text can be shown among others': without control characters, halves of surrogate pairs,
    and marks that turn the direction of what stands around it. With ``lines`` it may have several."""
    return not any(
        character in _TURNING or (unicodedata.category(character) in ("Cc", "Cs") and not (lines and character == "\n"))
        for character in text
    )
