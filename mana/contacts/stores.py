"""Queries and writes for contacts, requests and blocks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from mana.conf import settings
from mana.contacts.models import Block, Contact, ContactRequest
from mana.retries import retried
from mana.stores import Store


class ContactStore(Store):
    """Contacts on three tables. Replace it with ``MANA["CONTACT_STORE"]``. People are given by primary key."""

    # -- Contacts ----------------------------------------------------------------------------------------------------

    def contacts(self, user_pk: Any) -> QuerySet[Contact]:
        """A user's contacts, with the users they are."""
        return Contact.objects.filter(user_id=user_pk).select_related("person")

    def contact(self, user_pk: Any, person_pk: Any) -> Contact | None:
        """One contact."""
        return Contact.objects.filter(user_id=user_pk, person_id=person_pk).first()

    def contact_pks(self, user_pk: Any) -> list[Any]:
        """The contacts of a user."""
        return list(Contact.objects.filter(user_id=user_pk).values_list("person_id", flat=True))

    def contacts_of_many(self, user_pks: Collection[Any]) -> list[tuple[Any, Any]]:
        """(user, contact) for several users."""
        return list(Contact.objects.filter(user_id__in=list(user_pks)).values_list("user_id", "person_id"))

    def are_contacts(self, pairs: Collection[tuple[Any, Any]]) -> set[tuple[Any, Any]]:
        """Those of the pairs that are contacts."""
        if not pairs:
            return set()
        found = Contact.objects.filter(
            user_id__in={one for one, _ in pairs}, person_id__in={other for _, other in pairs}
        ).values_list("user_id", "person_id")
        return set(pairs) & set(found)

    @retried
    def connect(self, user_pk: Any, person_pk: Any) -> None:
        """Makes two people contacts of each other; their request, whoever made it, is over."""
        with transaction.atomic():
            ContactRequest.objects.filter(pair=pair_of(user_pk, person_pk)).delete()
            # In the same order whoever begins, so that two of these can't wait for each other.
            pairs = sorted([(user_pk, person_pk), (person_pk, user_pk)], key=str)
            Contact.objects.bulk_create(
                [Contact(user_id=one, person_id=other) for one, other in pairs], ignore_conflicts=True
            )

    def change(self, user_pk: Any, person_pk: Any, **fields: Any) -> bool:
        """Changes a user's own side of a contact; whether there is one."""
        return bool(Contact.objects.filter(user_id=user_pk, person_id=person_pk).update(**fields)) or bool(
            self.contact(user_pk, person_pk)
        )

    @retried
    def disconnect(self, user_pk: Any, person_pk: Any) -> bool:
        """Ends a contact on both sides; whether there was one."""
        both = Q(user_id=user_pk, person_id=person_pk) | Q(user_id=person_pk, person_id=user_pk)
        return bool(Contact.objects.filter(both).delete()[0])

    def count(self, user_pk: Any) -> int:
        """How many contacts and open requests a user has."""
        return Contact.objects.filter(user_id=user_pk).count() + ContactRequest.objects.filter(user_id=user_pk).count()

    # -- Requests ----------------------------------------------------------------------------------------------------

    def requests_received(self, user_pk: Any) -> QuerySet[ContactRequest]:
        """Requests that wait for a user's answer."""
        return ContactRequest.objects.filter(person_id=user_pk).select_related("user")

    def requests_made(self, user_pk: Any) -> QuerySet[ContactRequest]:
        """Requests of a user that wait for an answer."""
        return ContactRequest.objects.filter(user_id=user_pk).select_related("person")

    def request_between(self, user_pk: Any, person_pk: Any) -> ContactRequest | None:
        """The open request of two people, whoever made it."""
        return ContactRequest.objects.filter(pair=pair_of(user_pk, person_pk)).first()

    @retried
    def request(self, user_pk: Any, person_pk: Any, message: str = "") -> ContactRequest | None:
        """Stores a request; ``None`` if there is one between the two already."""
        try:
            with transaction.atomic():
                return ContactRequest.objects.create(
                    user_id=user_pk, person_id=person_pk, pair=pair_of(user_pk, person_pk), message=message
                )
        except IntegrityError:
            return None

    def withdraw(self, user_pk: Any, person_pk: Any) -> bool:
        """Removes the request that one user made to another; whether there was one."""
        return bool(ContactRequest.objects.filter(user_id=user_pk, person_id=person_pk).delete()[0])

    # -- Blocks ------------------------------------------------------------------------------------------------------

    def blocks(self, user_pk: Any) -> QuerySet[Block]:
        """Whom a user blocks."""
        return Block.objects.filter(user_id=user_pk).select_related("person")

    @retried
    def block(self, user_pk: Any, person_pk: Any) -> bool:
        """Blocks, and ends contact and requests of the two; whether it is new."""
        with transaction.atomic():
            _, made = Block.objects.get_or_create(user_id=user_pk, person_id=person_pk)
            self.disconnect(user_pk, person_pk)
            ContactRequest.objects.filter(pair=pair_of(user_pk, person_pk)).delete()
        return made

    def unblock(self, user_pk: Any, person_pk: Any) -> bool:
        """Takes a block back; whether there was one."""
        return bool(Block.objects.filter(user_id=user_pk, person_id=person_pk).delete()[0])

    def block_count(self, user_pk: Any) -> int:
        """How many people a user blocks."""
        return Block.objects.filter(user_id=user_pk).count()

    def blocked_with(self, user_pk: Any) -> set[Any]:
        """Everybody whom a user blocks or who blocks them."""
        return {pk for pair in self.blocks_of_many([user_pk]) for pk in pair} - {user_pk}

    def blocks_of_many(self, user_pks: Collection[Any]) -> list[tuple[Any, Any]]:
        """(who blocks, whom) for all blocks that several users make or suffer."""
        pks = list(user_pks)
        rows = Block.objects.filter(Q(user_id__in=pks) | Q(person_id__in=pks))
        return list(rows.values_list("user_id", "person_id"))

    def blocks_between(self, pairs: Collection[tuple[Any, Any]]) -> set[tuple[Any, Any]]:
        """(who blocks, whom) of the pairs, in whichever direction."""
        if not pairs:
            return set()
        everybody = {pk for pair in pairs for pk in pair}
        wanted = {*pairs, *((other, one) for one, other in pairs)}
        found = Block.objects.filter(user_id__in=everybody, person_id__in=everybody).values_list("user_id", "person_id")
        return wanted & set(found)


def pair_of(one: Any, other: Any) -> str:
    """The name of two people, whoever is first."""
    return ":".join(sorted((str(one), str(other))))


def store() -> ContactStore:
    """The configured store."""
    made: ContactStore = settings.CONTACT_STORE()
    return made
