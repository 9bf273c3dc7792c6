"""Use cases of contacts and blocks. Each function takes Django users (or persons) and has an async twin.

Both sides of a contact are made and ended together. A block ends contact and requests, and counts in both directions.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from mana import signals
from mana.accounts import stores as accounts
from mana.accounts.live import person_info, send_signal, tell
from mana.accounts.persons import Person
from mana.conf import settings
from mana.contacts.models import Block, Contact, ContactRequest
from mana.contacts.policies import policy
from mana.contacts.stores import store
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import ContactEvent
from mana.realtime.policies import Audience
from mana.realtime.presence import tell_of
from mana.retries import retried
from mana.stores import async_twin
from mana.text import is_presentable

MESSAGE_LENGTH = 300
NICKNAME_LENGTH = 100


# -- Requests --------------------------------------------------------------------------------------------------------


def request(user: Any, other: Any, message: str = "") -> bool:
    """Asks somebody to become contacts. Who is asked by them already accepts by that; whether they are contacts now.

    Raises ``ManaError``: ``conflict`` for contacts and for who has asked before, ``not_found`` across a block.
    """
    one, two = _two(user, other)
    policy().may_request(one, two)
    contacts = store()
    message = _checked(message, "message", MESSAGE_LENGTH)
    if contacts.contact(one.pk, two.pk) is not None:
        raise ManaError(ErrorCode.CONFLICT, "You are contacts already.")
    if contacts.count(one.pk) >= settings.MAX_CONTACTS:
        raise ManaError(ErrorCode.CONFLICT, f"A user may have {settings.MAX_CONTACTS} contacts and requests.")
    if contacts.request(one.pk, two.pk, message) is None:
        open_request = contacts.request_between(one.pk, two.pk)
        if open_request is not None and open_request.user_id == one.pk:
            raise ManaError(ErrorCode.CONFLICT, "You have asked already.")
        _connect(one, two)
        return True
    _end_what_a_block_overtook(one, two)
    _tell(one, two, "requested", by=one)
    send_signal(signals.contact_requested, ContactRequest, user=_user(one), other=_user(two))
    return False


@retried
def accept(user: Any, other: Any) -> None:
    """Says yes to somebody's request. Raises ``ManaError`` with ``not_found`` if there is none."""
    one, two = _two(user, other)
    with transaction.atomic():  # both or neither, should the server go down in between
        if not store().withdraw(two.pk, one.pk):
            raise ManaError(ErrorCode.NOT_FOUND, "This person has not asked you.")
        _connect(one, two)


def _connect(one: Person, two: Person) -> None:
    store().connect(one.pk, two.pk)
    _end_what_a_block_overtook(one, two)
    _tell(one, two, "accepted", by=one)
    # Contacts see each other wherever they are, unless they show it to nobody.
    transaction.on_commit(lambda: _show(one, two, anywhere=True))
    send_signal(signals.contact_accepted, Contact, user=_user(one), other=_user(two))


def decline(user: Any, other: Any) -> None:
    """Says no to somebody's request. Raises ``ManaError`` with ``not_found`` if there is none."""
    one, two = _two(user, other)
    if not store().withdraw(two.pk, one.pk):
        raise ManaError(ErrorCode.NOT_FOUND, "This person has not asked you.")
    _tell(one, two, "declined", by=one)


def withdraw(user: Any, other: Any) -> None:
    """Takes one's own request back. Raises ``ManaError`` with ``not_found`` if there is none."""
    one, two = _two(user, other)
    if not store().withdraw(one.pk, two.pk):
        raise ManaError(ErrorCode.NOT_FOUND, "You have not asked this person.")
    _tell(one, two, "withdrawn", by=one)


# -- Contacts --------------------------------------------------------------------------------------------------------


def remove(user: Any, other: Any) -> None:
    """Ends a contact, on both sides. Raises ``ManaError`` with ``not_found`` if there is none."""
    one, two = _two(user, other)
    if not store().disconnect(one.pk, two.pk):
        raise ManaError(ErrorCode.NOT_FOUND, "This person is not among your contacts.")
    _tell(one, two, "removed", by=one)
    transaction.on_commit(lambda: _hide_what_contacts_see(one, two))


def change(user: Any, other: Any, *, nickname: str | None = None, is_favourite: bool | None = None) -> None:
    """Changes a user's own side of a contact; the other one does not learn of it."""
    one, two = _two(user, other)
    fields: dict[str, Any] = {}
    if nickname is not None:
        fields["nickname"] = _checked(nickname, "nickname", NICKNAME_LENGTH)
    if is_favourite is not None:
        fields["is_favourite"] = is_favourite
    contacts = store()
    known = contacts.change(one.pk, two.pk, **fields) if fields else contacts.contact(one.pk, two.pk) is not None
    if not known:
        raise ManaError(ErrorCode.NOT_FOUND, "This person is not among your contacts.")
    tell([one.user_id], ContactEvent(action="updated", person=person_info(two), from_=one.user_id))


def contacts(user: Any) -> list[Person]:
    """The people who are a user's contacts."""
    found = accounts.people(store().contact_pks(user.pk))
    return sorted(found.values(), key=lambda person: (person.display_name or person.username).casefold())


def are_contacts(user: Any, other: Any) -> bool:
    """Whether two people are contacts."""
    return store().contact(user.pk, other.pk) is not None


# -- Blocks ----------------------------------------------------------------------------------------------------------


def block(user: Any, other: Any) -> None:
    """Stops direct messages, calls, presence, search and requests, in both directions, at once.

    Contact and requests of the two end. The other one is not told, and sees what they would see of somebody who is
    offline.
    """
    one, two = _two(user, other)
    blocks = store()
    if blocks.block_count(one.pk) >= settings.MAX_BLOCKS:
        raise ManaError(ErrorCode.CONFLICT, f"A user may block {settings.MAX_BLOCKS} people.")
    were_contacts = blocks.contact(one.pk, two.pk) is not None
    if not blocks.block(one.pk, two.pk):
        return
    _end_what_a_block_overtook(one, two)
    tell([one.user_id], ContactEvent(action="blocked", person=person_info(two), from_=one.user_id))
    if were_contacts:
        tell([two.user_id], ContactEvent(action="removed", person=person_info(one), from_=one.user_id))

    def hide() -> None:
        # Who was no contact and shares no room has seen nothing; to be told now would tell them of the block.
        tell_of(one.pk, Audience(only=[two.user_id], anywhere=were_contacts), hidden=True)
        tell_of(two.pk, Audience(only=[one.user_id], anywhere=were_contacts), hidden=True)

    transaction.on_commit(hide)
    send_signal(signals.block_changed, Block, user=_user(one), other=_user(two), blocked=True)


def unblock(user: Any, other: Any) -> None:
    """Takes a block back. Raises ``ManaError`` with ``not_found`` if there is none."""
    one, two = _two(user, other)
    if not store().unblock(one.pk, two.pk):
        raise ManaError(ErrorCode.NOT_FOUND, "You have not blocked this person.")
    tell([one.user_id], ContactEvent(action="unblocked", person=person_info(two), from_=one.user_id))
    transaction.on_commit(lambda: _show(one, two))
    send_signal(signals.block_changed, Block, user=_user(one), other=_user(two), blocked=False)


def is_blocked(user: Any, other: Any) -> bool:
    """Whether one of two people blocks the other."""
    return bool(store().blocks_between([(user.pk, other.pk)]))


# -- What others ask -------------------------------------------------------------------------------------------------


def contact_ids(user_pk: Any) -> list[str]:
    """The wire ids of a user's contacts."""
    return _ids(store().contact_pks(user_pk))


def blocked_ids(user_pk: Any) -> list[str]:
    """The wire ids of those with whom there is a block."""
    return _ids(store().blocked_with(user_pk))


def hidden_pks(user_pk: Any) -> set[Any]:
    """The primary keys of those with whom there is a block."""
    return store().blocked_with(user_pk)


def _ids(pks: Any) -> list[str]:
    return [person.user_id for person in accounts.people(pks).values()] if pks else []


# -- Helpers ---------------------------------------------------------------------------------------------------------


def _two(user: Any, other: Any) -> tuple[Person, Person]:
    one, two = _person(user), _person(other)
    if one.pk == two.pk:
        raise ManaError(ErrorCode.INVALID, "That is you.")
    return one, two


def _person(user: Any) -> Person:
    found = user if isinstance(user, Person) else accounts.person(user.pk)
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, "There is no such user.")
    return found


def _user(person: Person) -> Any:
    return accounts.accounts().by_pk(person.pk)


def _end_what_a_block_overtook(one: Person, two: Person) -> None:
    """Of a block and a request or contact that are made at the same time, neither sees the other before the commit.

    So each looks once more after its own: the last one sees both, and the block counts.
    """

    def look() -> None:
        if is_blocked(one, two):
            store().disconnect(one.pk, two.pk)
            store().withdraw(one.pk, two.pk)
            store().withdraw(two.pk, one.pk)

    transaction.on_commit(look)


def _tell(one: Person, two: Person, action: Any, *, by: Person) -> None:
    tell([one.user_id], ContactEvent(action=action, person=person_info(two), from_=by.user_id))
    tell([two.user_id], ContactEvent(action=action, person=person_info(one), from_=by.user_id))


def _show(one: Person, two: Person, *, anywhere: bool = False) -> None:
    from mana.realtime.policies import presence_policy

    rules = presence_policy()
    for shown, viewer in ((one, two), (two, one)):
        if rules.visible(viewer.pk, [shown.pk]):
            tell_of(shown.pk, Audience(only=[viewer.user_id], anywhere=anywhere))


def _hide_what_contacts_see(one: Person, two: Person) -> None:
    from mana.realtime.policies import presence_policy

    rules = presence_policy()
    for shown, viewer in ((one, two), (two, one)):
        if not rules.visible(viewer.pk, [shown.pk]):
            tell_of(shown.pk, Audience(only=[viewer.user_id], anywhere=True), hidden=True)


def _checked(text: str, field: str, length: int) -> str:
    text = text.strip()
    if len(text) > length or not is_presentable(text, lines=field == "message"):
        raise ManaError(ErrorCode.INVALID, f"The {field} may have {length} characters, no control characters.")
    return text


aaccept = async_twin(accept)
aare_contacts = async_twin(are_contacts)
ablock = async_twin(block)
achange = async_twin(change)
acontacts = async_twin(contacts)
adecline = async_twin(decline)
ais_blocked = async_twin(is_blocked)
aremove = async_twin(remove)
arequest = async_twin(request)
aunblock = async_twin(unblock)
awithdraw = async_twin(withdraw)

__all__ = [
    "aaccept",
    "aare_contacts",
    "ablock",
    "accept",
    "achange",
    "acontacts",
    "adecline",
    "ais_blocked",
    "are_contacts",
    "aremove",
    "arequest",
    "aunblock",
    "awithdraw",
    "block",
    "change",
    "contacts",
    "decline",
    "is_blocked",
    "remove",
    "request",
    "unblock",
    "withdraw",
]
