"""What others and one's own sockets learn at once: that a sign-in ended, that somebody changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from mana.accounts import stores
from mana.accounts.models import Profile
from mana.accounts.persons import Person
from mana.protocol import encode
from mana.protocol.server import PersonInfo, PersonStatus, ProfileEvent, ServerFrame
from mana.realtime.announce import announce
from mana.realtime.announcements import Announcement
from mana.realtime.revocation import disconnect_user, recheck
from mana.realtime.wire import timestamp

#: Functions from a user's primary key to the wire ids of people who know them.
_acquaintances: list[Callable[[Any], Iterable[str]]] = []
#: Functions from a user's primary key to the wire ids of people who must not learn of them.
_strangers: list[Callable[[Any], Iterable[str]]] = []


def knows(provider: Callable[[Any], Iterable[str]]) -> Callable[[Any], Iterable[str]]:
    """Registers a function that gives the wire ids of those who see a user's changes live."""
    _acquaintances.append(provider)
    return provider


def must_not_know(provider: Callable[[Any], Iterable[str]]) -> Callable[[Any], Iterable[str]]:
    """Registers a function that gives the wire ids of those who are told nothing of a user."""
    _strangers.append(provider)
    return provider


def send_signal(signal: Signal, sender: Any, **kwargs: Any) -> None:
    """Sends a signal after the commit; receivers that raise are logged by Django."""

    def send() -> None:
        signal.send_robust(sender, **kwargs)

    transaction.on_commit(send)


def tell(user_ids: Iterable[str], frame: ServerFrame, *, origin: str = "") -> None:
    """Sends a frame to all sessions of users, after the commit."""
    users = list(user_ids)
    if users:
        text = encode(frame).decode()
        transaction.on_commit(lambda: announce([Announcement(0, "", text, origin=origin, users=users)]))


def audience(user_pk: Any, user_id: str) -> list[str]:
    """The user's own devices and those of all who know them."""
    known = {user_id}.union(*(provider(user_pk) for provider in _acquaintances))
    return sorted(known.difference(*(provider(user_pk) for provider in _strangers)) | {user_id})


def tell_of_profile(user_pk: Any) -> None:
    """Sends a user's profile as it is now to everybody who knows them."""
    person = stores.person(user_pk)
    if person is not None:
        tell(audience(user_pk, person.user_id), ProfileEvent(person=person_info(person)))


def person_info(person: Person, profile: Profile | None = None) -> PersonInfo:
    """A person as others see them; ``profile`` where it was read already."""
    if profile is None:
        profile = stores.profiles().many([person.pk]).get(person.pk)
    return PersonInfo(
        user_id=person.user_id,
        username=person.username,
        display_name=person.display_name,
        about=profile.about if profile else "",
        avatar_url=person.avatar_url,
        status=status_of(profile),
    )


def people_info(people: Iterable[Person]) -> dict[Any, PersonInfo]:
    """Several people as others see them, by primary key, with one query."""
    people = list(people)
    found = stores.profiles().many([person.pk for person in people])
    blank = Profile()
    return {person.pk: person_info(person, found.get(person.pk, blank)) for person in people}


def status_of(profile: Profile | None, now: datetime | None = None) -> PersonStatus | None:
    """What somebody says of themselves, unless it has expired."""
    if profile is None or not (profile.status_text or profile.status_emoji):
        return None
    if profile.status_expires_at is not None and profile.status_expires_at <= (now or timezone.now()):
        return None
    expires_at = timestamp(profile.status_expires_at) if profile.status_expires_at else None
    return PersonStatus(text=profile.status_text, emoji=profile.status_emoji, expires_at=expires_at)


def close_sockets(user: Any, *, everything: bool = False) -> None:
    """Has all nodes close the sockets of a user whose credentials ended; with ``everything`` all that they have.

    To be called in the transaction that ends them.
    """
    who = user if isinstance(user, Person) else stores.person(user.pk)
    if who is None:
        return
    recheck(who.user_id)
    if everything:
        disconnect_user(who.pk)
