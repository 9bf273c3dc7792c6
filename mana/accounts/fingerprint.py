"""What of a user changes with their password, so that what was opened with the old one can be told."""

from __future__ import annotations

from typing import Any

from django.utils.crypto import constant_time_compare


def fingerprint(user: Any) -> str:
    """An HMAC of the password's hash, as Django puts it into sessions; empty for a user model without passwords."""
    make = getattr(user, "get_session_auth_hash", None)
    return make() if make is not None else ""


def matches(user: Any, stored: str | None) -> bool:
    """Whether a fingerprint is still the user's, also if ``SECRET_KEY`` was rotated since."""
    if stored is None:
        return False
    if not stored or constant_time_compare(stored, fingerprint(user)):
        return True
    return any(constant_time_compare(stored, fallback) for fallback in user.get_session_auth_fallback_hash())
