"""Django's own sessions, read without a request."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.core.exceptions import ValidationError

from mana.accounts.fingerprint import matches


def load_session(key: str) -> Any:
    """The session with a key; an empty one if there is none."""
    return import_module(django_settings.SESSION_ENGINE).SessionStore(key)


def user_of_session(key: str) -> Any:
    """Who is signed in with a session, as ``django.contrib.auth.get_user`` tells it of a request; or ``None``."""
    session = load_session(key)
    try:
        pk = get_user_model()._meta.pk.to_python(session[SESSION_KEY])
        backend_path = session[BACKEND_SESSION_KEY]
    except (KeyError, ValidationError):
        return None  # an anonymous session
    if backend_path not in django_settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(backend_path).get_user(pk)
    # The hash changes with the password, so that old sessions end.
    given = session.get(HASH_SESSION_KEY, "")
    return user if user is not None and given and matches(user, given) else None
