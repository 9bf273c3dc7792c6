"""Profiles: how users appear to others, and to whom."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mana.accounts.models import Profile
from mana.stores import Store


class ProfileStore(Store):
    """Profiles beside the project's user model. Replace it with ``MANA["PROFILE_STORE"]``."""

    def get(self, user: Any) -> Profile:
        """The user's profile, made if there is none."""
        return Profile.objects.select_related("user").get_or_create(user=user)[0]

    def many(self, user_pks: Collection[Any]) -> dict[Any, Profile]:
        """Those of the users' profiles that exist, by primary key of the user."""
        return {row.pk: row for row in Profile.objects.filter(pk__in=list(user_pks))}

    def save(self, profile: Profile, *fields: str) -> None:
        """Stores changed fields."""
        profile.save(update_fields=list(fields))

    def guest(self, guest_id: str) -> Profile | None:
        """The guest that named itself so."""
        return Profile.objects.select_related("user").filter(guest_id=guest_id).first()

    def add_guest(self, user: Any, guest_id: str) -> Profile:
        """Stores a new user and the name that the guest gave itself. Raises ``IntegrityError`` if it is taken."""
        user.save()
        return Profile.objects.update_or_create(user=user, defaults={"guest_id": guest_id})[0]

    def restricted(self, user_pks: Collection[Any], field: str) -> dict[Any, str]:
        """What users chose for a field of privacy, those who chose."""
        rows = Profile.objects.filter(pk__in=list(user_pks)).exclude(**{field: ""})
        return dict(rows.values_list("pk", field))
