"""Who sees whom come and go: as people chose, and nobody across a block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from mana.accounts import stores as accounts
from mana.conf import settings
from mana.contacts.stores import store
from mana.realtime.policies import Audience, PresencePolicy


class ContactPresencePolicy(PresencePolicy):
    """Those in common rooms and contacts, contacts alone, or nobody, as ``Profile.last_seen_to`` says.

    Never across a block.
    """

    def audiences(self, user_pks: Collection[Any]) -> dict[Any, Audience]:
        """Who is told of each user's presence. The user's own devices always are."""
        shown_to = accounts.profiles().restricted(user_pks, "last_seen_to")
        limited = {pk for pk in user_pks if (shown_to.get(pk) or settings.LAST_SEEN_TO) != "everyone"}
        blocked: dict[Any, set[Any]] = defaultdict(set)
        for one, other in store().blocks_of_many(user_pks):
            blocked[one].add(other)
            blocked[other].add(one)
        allowed: dict[Any, set[Any]] = {pk: {pk} for pk in limited}
        of_contacts = {pk for pk in limited if (shown_to.get(pk) or settings.LAST_SEEN_TO) == "contacts"}
        if of_contacts:
            for one, other in store().contacts_of_many(of_contacts):
                allowed[one].add(other)
        concerned = {pk for pk in user_pks if pk in limited or blocked.get(pk)}
        ids = _wire_ids({pk for one in concerned for pk in (*allowed.get(one, ()), *blocked.get(one, ()))})
        return {
            pk: Audience(
                only=[ids[other] for other in sorted(allowed[pk], key=str) if other in ids] if pk in limited else None,
                hidden_from=[ids[other] for other in sorted(blocked.get(pk, ()), key=str) if other in ids],
            )
            for pk in concerned
        }

    def followers(self, user_pks: Collection[Any]) -> dict[Any, list[str]]:
        """Contacts, whether they share a room or not. They are on both sides, and a block ends them."""
        pairs = store().contacts_of_many(user_pks)
        ids = _wire_ids({other for _, other in pairs})
        found: dict[Any, list[str]] = defaultdict(list)
        for one, other in pairs:
            if other in ids:
                found[one].append(ids[other])
        return found

    def visible(self, viewer_pk: Any, user_pks: Collection[Any]) -> set[Any]:
        """Those of the users whose presence ``viewer_pk`` may see."""
        pks = set(user_pks)
        blocked = store().blocks_between([(viewer_pk, pk) for pk in pks])
        pks -= {pk for pair in blocked for pk in pair} - {viewer_pk}
        shown_to = accounts.profiles().restricted(pks, "last_seen_to")
        limited = {pk: choice for pk in pks if (choice := shown_to.get(pk) or settings.LAST_SEEN_TO) != "everyone"}
        if not limited:
            return pks
        asked = [(pk, viewer_pk) for pk, choice in limited.items() if choice == "contacts"]
        allowed = {pk for pk, _ in store().are_contacts(asked)}
        return {pk for pk in pks if pk not in limited or pk in allowed or pk == viewer_pk}


def _wire_ids(pks: Collection[Any]) -> dict[Any, str]:
    return {pk: person.user_id for pk, person in accounts.people(pks).items()} if pks else {}
