"""Profiles, and finding people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import IO, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import transaction
from django.db.models import QuerySet

from mana import signals
from mana.accounts import avatars, stores
from mana.accounts.live import send_signal, tell_of_profile
from mana.accounts.models import Identifier, Profile
from mana.accounts.names import checked_phone, email_key
from mana.realtime.policies import EVERYBODY, Audience
from mana.realtime.presence import tell_of
from mana.text import is_presentable

#: What a user may change of their profile by name.
CHANGEABLE = frozenset(
    (
        "display_name",
        "about",
        "status_text",
        "status_emoji",
        "status_expires_at",
        "last_seen_to",
        "direct_messages_from",
        "find_by_email",
        "find_by_phone",
    )
)
_PRIVATE = frozenset(("last_seen_to", "direct_messages_from", "find_by_email", "find_by_phone"))

#: Functions from a user's primary key to the primary keys of people whom they must not find.
_hidden: list[Callable[[Any], Iterable[Any]]] = []


def hides_people(provider: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Iterable[Any]]:
    """Registers a function that gives the primary keys of people who are invisible to a user."""
    _hidden.append(provider)
    return provider


def update_profile(user: Any, **changes: Any) -> Profile:
    """Changes fields of the profile. Raises ``ValidationError`` or ``FieldDoesNotExist``."""
    store = stores.profiles()
    profile = store.get(user)
    shown_to = profile.last_seen_to
    for name, value in changes.items():
        if name not in CHANGEABLE:
            raise FieldDoesNotExist(name)
        setattr(profile, name, without_controls(name, value))
    profile.full_clean(exclude=["user"])
    store.save(profile, *changes)
    if changes.keys() - _PRIVATE:
        tell_of_profile(user.pk)
    if "last_seen_to" in changes and profile.last_seen_to != shown_to:
        transaction.on_commit(lambda: _show_presence_anew(user))
    send_signal(signals.profile_changed, type(user), user=user)
    return profile


def without_controls(name: str, value: Any) -> Any:
    """A field's value, texts without surrounding spaces. Raises ``ValidationError`` for control characters, and outside
    ``about`` for a second line."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not is_presentable(text, lines=name == "about"):
        raise ValidationError({name: "Enter text without control characters."})
    return text


def _show_presence_anew(user: Any) -> None:
    who = stores.person(user.pk)
    if who is not None:
        # First nobody sees it, then those who still may do.
        tell_of(user.pk, Audience(hidden_from=[who.user_id]) if who else EVERYBODY, hidden=True)
        tell_of(user.pk)


def set_status(user: Any, text: str = "", emoji: str = "", expires_at: datetime | None = None) -> Profile:
    """Says what a user is up to, until a moment; empty takes it back."""
    return update_profile(user, status_text=text, status_emoji=emoji, status_expires_at=expires_at)


def set_avatar(user: Any, image: IO[bytes]) -> Profile:
    """Stores an image as the user's avatar; the one before is removed. Raises ``ManaError``."""
    return _replace_avatar(user, avatars.store(image))


def remove_avatar(user: Any) -> Profile:
    """Takes the avatar away."""
    return _replace_avatar(user, "")


def _replace_avatar(user: Any, name: str) -> Profile:
    store = stores.profiles()
    try:
        with transaction.atomic():
            # Of two at once, each removes the other's picture, or none.
            get_user_model()._default_manager.select_for_update().filter(pk=user.pk).first()
            profile = store.get(user)
            before, profile.avatar = profile.avatar, name
            store.save(profile, "avatar")
    except BaseException:
        avatars.remove(name)
        raise
    transaction.on_commit(lambda: avatars.remove(before))
    tell_of_profile(user.pk)
    send_signal(signals.profile_changed, type(user), user=user)
    return profile


def find_people(user: Any, text: str) -> QuerySet[Any]:
    """Active users by the beginning of their name, or by their whole e-mail address or phone number if they allow it.

    People who have blocked the user, or whom the user has blocked, are not found.
    """
    store = stores.accounts()
    hidden = {pk for provider in _hidden for pk in provider(user.pk)}
    text = text.strip()
    if "@" in text:
        return store.search_exact(Identifier.Kind.EMAIL, email_key(text), exclude=user.pk, hidden=hidden)
    try:
        phone = checked_phone(text)
    except ValidationError:
        return store.search(text, exclude=user.pk, hidden=hidden)
    return store.search_exact(Identifier.Kind.PHONE, phone, exclude=user.pk, hidden=hidden)


def is_hidden(user: Any, other_pk: Any) -> bool:
    """Whether a person is invisible to a user."""
    return any(other_pk in set(provider(user.pk)) for provider in _hidden)
