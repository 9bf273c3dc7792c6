"""What counts as an emoji in a reaction."""

from __future__ import annotations

import re
import unicodedata

#: A name between colons, for a project's own pictures.
_SHORTCODE = re.compile(r":[a-z0-9_+-]{1,62}:")
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")
#: Symbols, skin tones, and what joins and varies them (Unicode TR 51).
_CATEGORIES = frozenset(("So", "Sk", "Sm", "Po", "Pd", "Mn", "Me", "Cf"))
#: Code points of the longest sequences in use, families and flags of regions, with some room.
_LONGEST = 16


def is_emoji(text: str) -> bool:
    """Whether ``text`` is an emoji (or a short sequence that looks like one), or a name between colons."""
    if _SHORTCODE.fullmatch(text) or _KEYCAP.fullmatch(text):
        return True
    if not 1 <= len(text) <= _LONGEST or text.isascii():
        return False
    if any(ord(char) < 0xA9 or unicodedata.category(char) not in _CATEGORIES for char in text):
        return False
    return unicodedata.category(text[0]) not in ("Mn", "Me", "Cf", "Sk")
