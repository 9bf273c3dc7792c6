"""A user as others see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Person:
    """A user as others see them; ``user_id`` is the id on the wire, ``avatar`` the name of the image in its storage."""

    pk: Any
    user_id: str
    username: str
    display_name: str
    avatar: str = ""

    @property
    def avatar_url(self) -> str | None:
        """Where the image is served, below the host."""
        if not self.avatar:
            return None
        from django.urls import NoReverseMatch, reverse

        try:
            return reverse("mana:avatar", args=[self.avatar.rsplit("/", 1)[-1]])
        except NoReverseMatch:  # the project does not include mana's addresses
            return None


def person_of_row(pk: Any, username: str, guest_id: str | None, display_name: str | None, avatar: str | None) -> Person:
    """A person from the columns ``PERSON_COLUMNS``."""
    if guest_id is not None:
        return Person(pk, guest_id, display_name or guest_id, display_name or "", avatar or "")
    return Person(pk, str(pk), username, display_name or "", avatar or "")
