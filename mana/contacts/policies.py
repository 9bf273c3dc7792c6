"""Who may request, write to and call whom. ``MANA["CONTACT_POLICY"]`` names a class that replaces this one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mana.accounts import stores as accounts
from mana.accounts.persons import Person
from mana.conf import settings
from mana.contacts.stores import store
from mana.protocol import ErrorCode, ManaError

#: The one thing that is said to who is not let through, so that it does not tell whether they are blocked.
NOT_FROM_YOU = "This person does not take messages from you."
NOT_BY_YOU = "You can't bring this person into a room."


class ContactPolicy:
    """Each method returns if the act is allowed and raises ``ManaError`` if not.

    A block counts in both directions. ``may_message`` is asked while the order of events is locked, after ``prepare``
    was given all the pairs of a batch.
    """

    def __init__(self) -> None:
        self._prepared: set[tuple[Any, str]] = set()
        self._blocks: set[tuple[Any, Any]] = set()
        self._contacts: set[tuple[Any, Any]] = set()
        self._writers: dict[Any, str] = {}
        self._people: dict[str, Person] = {}

    def prepare(self, pairs: Collection[tuple[Person, str]]) -> None:
        """Reads at once what ``may_message`` needs for several senders and the users (wire ids) whom they write to."""
        if not pairs:
            return
        self._people |= accounts.resolve({user_id for _, user_id in pairs}, active_only=False)
        known = [(one.pk, self._people[user_id].pk) for one, user_id in pairs if user_id in self._people]
        contacts = store()
        self._blocks |= contacts.blocks_between(known)
        others = {other for _, other in known}
        self._writers |= accounts.profiles().restricted(others, "direct_messages_from")
        limited = [(one, other) for one, other in known if self._writers_of(other) == "contacts"]
        self._contacts |= contacts.are_contacts([(other, one) for one, other in limited])
        self._prepared |= {(one.pk, user_id) for one, user_id in pairs}

    def may_message(self, person: Person, other_user_id: str) -> None:
        """Nobody writes to who blocked them or whom they blocked; some people take messages of contacts only."""
        if person.user_id == other_user_id:
            return
        if (person.pk, other_user_id) not in self._prepared:
            self.prepare([(person, other_user_id)])
        other = self._people.get(other_user_id)
        if other is None:
            return
        if (person.pk, other.pk) in self._blocks:
            raise ManaError(ErrorCode.FORBIDDEN, "You have blocked this person.")
        if (other.pk, person.pk) in self._blocks:
            raise ManaError(ErrorCode.FORBIDDEN, NOT_FROM_YOU)
        if self._writers_of(other.pk) == "contacts" and (other.pk, person.pk) not in self._contacts:
            raise ManaError(ErrorCode.FORBIDDEN, NOT_FROM_YOU)

    def may_add(self, person: Person, others: Collection[Person]) -> None:
        """Nobody brings into a room, or invites to one, who blocked them or whom they blocked."""
        pairs = [(person.pk, other.pk) for other in others if other.pk != person.pk]
        blocks = store().blocks_between(pairs)
        if any((person.pk, pk) in blocks for _, pk in pairs):
            raise ManaError(ErrorCode.FORBIDDEN, "You have blocked this person.")
        if blocks:
            raise ManaError(ErrorCode.FORBIDDEN, NOT_BY_YOU)

    def may_call(self, person: Person, other_user_id: str) -> None:
        """Who may write to somebody may call them."""
        self.may_message(person, other_user_id)

    def may_request(self, person: Person, other: Person) -> None:
        """Everybody may ask everybody but those with whom there is a block."""
        blocks = store().blocks_between([(person.pk, other.pk)])
        if (person.pk, other.pk) in blocks:
            raise ManaError(ErrorCode.FORBIDDEN, "You have blocked this person.")
        if blocks:
            # As if they did not exist: that is how the search answers as well.
            raise ManaError(ErrorCode.NOT_FOUND, "There is no such user.")

    def _writers_of(self, pk: Any) -> str:
        return self._writers.get(pk) or str(settings.DIRECT_MESSAGES_FROM)


def policy() -> ContactPolicy:
    """The project's policy."""
    made: ContactPolicy = settings.CONTACT_POLICY()
    return made
