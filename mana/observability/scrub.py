"""Takes credentials and payloads out of text that is about to be logged."""

from __future__ import annotations

import re
from collections.abc import Callable

SCRUBBED = "[scrubbed]"

_NAMES = r"token|ticket|access|refresh|password\d?|secret|sessionid|csrftoken|csrfmiddlewaretoken"

#: Cheap words, one of which every text has that one of the patterns below can match.
_HINTS = re.compile(r"token|ticket|access|refresh|password|secret|sessionid|bearer|eyJ|payload|://|contains", re.I)
_PATTERNS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    # ?token=..., &ticket=..., Cookie: sessionid=...
    (re.compile(rf"(?i)(?<![\w-])({_NAMES})=([^&\s\"'<>;,)]+)"), rf"\1={SCRUBBED}"),
    # Authorization: Bearer ..., Sec-WebSocket-Protocol: bearer....
    (re.compile(r"(?i)\bbearer([ .:]+)[\w.~+/=-]+"), rf"bearer\1{SCRUBBED}"),
    # A JWT, wherever it is.
    (re.compile(r"\beyJ[\w-]*\.[\w-]+\.[\w-]*"), SCRUBBED),
    # {"password": "...", 'payload': {...}} in JSON and in what Python prints; a nested value is cut to the end of line.
    (
        re.compile(
            rf"(?i)([\"'](?:{_NAMES}|payload(?:_json)?)[\"']\s*:\s*)(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[\[{{].*|[^,\s}}]+)"
        ),
        rf"\1{SCRUBBED}",
    ),
    # redis://user:password@host
    (re.compile(r"(://[^\s/:@]*):[^\s/@]+@"), rf"\1:{SCRUBBED}@"),
    # PostgreSQL shows a row that it refuses, with everything in it.
    (re.compile(r"(?s)(Failing row contains) \(.*"), rf"\1 ({SCRUBBED})."),
]


def scrub(text: str) -> str:
    """The text without tokens, tickets, passwords and payloads, as far as they can be told by what is around them."""
    if not _HINTS.search(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
