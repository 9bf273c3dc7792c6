"""Accounts: who exists, by what they are found, their sign-ins and tickets."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections, router, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from mana.accounts.models import Identifier, Profile, SearchName, SignIn, Ticket
from mana.accounts.names import after, email_key, username_key
from mana.accounts.persons import Person, person_of_row
from mana.conf import settings
from mana.stores import Store


class Taken(Exception):
    """An identifier belongs to another account; ``kind`` says which."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(kind)


class AccountStore(Store):
    """Accounts on the project's user model. Replace it with ``MANA["ACCOUNT_STORE"]``."""

    # -- Finding -----------------------------------------------------------------------------------------------------

    def people(self, pks: Collection[Any]) -> dict[Any, Person]:
        """Those of the users that exist, by primary key."""
        rows = get_user_model()._default_manager.filter(pk__in=set(pks) - {None}).values_list(*_person_columns())
        return {row[0]: person_of_row(*row) for row in rows}

    def resolve(self, user_ids: Iterable[str], *, active_only: bool = True) -> dict[str, Person]:
        """The users that wire ids name. Ids that name nobody are missing from the result."""
        wanted = {user_id for user_id in user_ids if "\x00" not in user_id}  # PostgreSQL would fail
        if not wanted:
            return {}
        pk_field = get_user_model()._meta.pk
        pks = []
        for user_id in wanted:
            try:
                pks.append(pk_field.get_db_prep_value(pk_field.to_python(user_id), _connection()))
            except (ValidationError, ValueError, OverflowError):
                continue
        users = get_user_model()._default_manager.all()
        if active_only:
            users = users.filter(is_active=True)
        rows = users.filter(Q(pk__in=_storable(pks)) | Q(mana_profile__guest_id__in=wanted)).values_list(
            *_person_columns()
        )
        found = [person_of_row(*row) for row in rows]
        return {one.user_id: one for one in found if one.user_id in wanted}

    def search(self, prefix: str, *, exclude: Any, hidden: Collection[Any] = ()) -> QuerySet[Any]:
        """Active users whose name begins with ``prefix``, for everybody but ``exclude`` and the ``hidden``."""
        user_model = get_user_model()
        return (
            user_model._default_manager.filter(_begins("mana_search_name__key", username_key(prefix)), is_active=True)
            .exclude(pk__in=[exclude, *hidden])
            .select_related("mana_profile")
            .order_by(user_model.USERNAME_FIELD)
        )

    def search_exact(self, kind: str, key: str, *, exclude: Any, hidden: Collection[Any] = ()) -> QuerySet[Any]:
        """The active user with this e-mail address or phone number, if they let themselves be found by it."""
        wanted: dict[str, Any] = {
            "mana_identifiers__kind": kind,
            "mana_identifiers__key": key,
            f"mana_profile__find_by_{kind}": True,
        }
        if must_be_verified(kind):
            wanted[f"mana_profile__verified_{kind}"] = key
        return (
            get_user_model()
            ._default_manager.filter(**wanted, is_active=True)
            .exclude(pk__in=[exclude, *hidden])
            .select_related("mana_profile")
            .order_by("pk")
        )

    def by_identifier(self, kind: str, key: str) -> Any | None:
        """The user who has an identifier."""
        return get_user_model()._default_manager.filter(mana_identifiers__kind=kind, mana_identifiers__key=key).first()

    def by_email(self, email: str) -> list[Any]:
        """The active users with an e-mail address, however many have it."""
        field = get_user_model().get_email_field_name()
        if not _has_field(field) or not email:
            return []
        return list(get_user_model()._default_manager.filter(**{f"{field}__iexact": email}, is_active=True)[:10])

    def active(self, pks: Collection[Any]) -> dict[Any, Any]:
        """Those of the users that exist and are active, by primary key."""
        users = get_user_model()._default_manager.filter(pk__in=pks)
        return {user.pk: user for user in users if user.is_active}

    def by_pk(self, pk: Any) -> Any | None:
        """The user with a primary key, which may come from outside."""
        try:
            return get_user_model()._default_manager.filter(pk=pk).first()
        except (ValidationError, ValueError, OverflowError, TypeError):
            return None

    # -- Making, changing, ending ------------------------------------------------------------------------------------

    def create(self, user: Any, *, phone: str = "") -> Any:
        """Stores a new user with their profile and identifiers. Raises ``Taken``."""
        with transaction.atomic():
            try:
                with transaction.atomic():
                    user.save()
            except IntegrityError:  # the user model's own constraint
                raise Taken(Identifier.Kind.USERNAME) from None
            Profile.objects.update_or_create(user=user, defaults={"phone": phone})
            self.identify(user)
        return user

    def identify(self, user: Any, *, force: bool = True) -> None:
        """Takes the identifiers that a user's name, address and number are. Raises ``Taken``, unless not ``force``."""
        wanted = _identifiers(user)
        with transaction.atomic():
            own = Identifier.objects.filter(user=user)
            kept = {kind for kind, key in own.values_list("kind", "key") if wanted.get(kind) == key}
            own.exclude(kind__in=kept).delete()
            for kind, key in wanted.items():
                if kind in kept:
                    continue
                # Whoever stores the same key at the same time makes this wait, and then find whose it is.
                Identifier.objects.bulk_create([Identifier(kind=kind, key=key, user=user)], ignore_conflicts=True)
                owner = Identifier.objects.filter(kind=kind, key=key).values_list("user_id", flat=True).first()
                if owner != user.pk and force:
                    raise Taken(kind)
            _name_for_searches(user)

    def is_taken(self, kind: str, key: str, *, by_another_than: Any = None) -> bool:
        """Whether an identifier belongs to somebody."""
        return Identifier.objects.filter(kind=kind, key=key).exclude(user_id=by_another_than).exists()

    def delete(self, user: Any) -> None:
        """Removes a user's row and all that depends on it."""
        user.delete()

    # -- Sign-ins ----------------------------------------------------------------------------------------------------

    def add_sign_in(self, user: Any, **fields: Any) -> SignIn:
        """Stores a sign-in."""
        return SignIn.objects.create(user=user, **fields)

    def sign_in(self, sign_in_id: Any, *, lock: bool = False) -> SignIn | None:
        """A sign-in with its user; locked until the end of the transaction with ``lock``."""
        rows = SignIn.objects.select_related("user")
        if lock:
            rows = rows.select_for_update()
        try:
            return next(iter(rows.filter(pk=sign_in_id)), None)  # .first() would have it sorted
        except (ValidationError, ValueError):
            return None

    def sign_ins(self, user_pk: Any) -> QuerySet[SignIn]:
        """The sign-ins of a user that have not ended."""
        return SignIn.objects.filter(user_id=user_pk, revoked_at=None, expires_at__gt=timezone.now())

    def valid_sign_in(self, sign_in_id: str) -> bool:
        """Whether a sign-in exists and was not revoked."""
        try:
            return SignIn.objects.filter(pk=sign_in_id, revoked_at=None).exists()
        except (ValidationError, ValueError):
            return False

    def open_sign_ins(self, ids: Collection[str]) -> dict[str, SignIn]:
        """Those of the sign-ins that have not been ended, by id."""
        return {str(row.pk): row for row in SignIn.objects.filter(pk__in=ids, revoked_at=None)}

    def save_sign_in(self, row: SignIn, *fields: str) -> None:
        """Stores changed fields of a sign-in."""
        row.save(update_fields=list(fields))

    def sign_in_of_session(self, session_key: str) -> SignIn | None:
        """The sign-in that a Django session is, with its user."""
        return SignIn.objects.select_related("user").filter(session_key=session_key).first() if session_key else None

    def session_keys(self, ids: Collection[Any]) -> list[str]:
        """The Django sessions among sign-ins."""
        return list(SignIn.objects.filter(pk__in=ids).exclude(session_key="").values_list("session_key", flat=True))

    def bind_sign_in(self, sign_in_id: str, device_id: str, user_agent: str) -> None:
        """Remembers the device that first connected with a sign-in."""
        SignIn.objects.filter(pk=sign_in_id, device_id="").update(device_id=device_id, user_agent=user_agent[:200])

    def revoke_sign_ins(self, user_pk: Any, *, ids: Collection[Any] | None = None, keep: Any = None) -> list[str]:
        """Ends sign-ins of a user, all or those with ``ids``, but not ``keep``; the ids of those that ended."""
        rows = SignIn.objects.filter(user_id=user_pk, revoked_at=None)
        if ids is not None:
            rows = rows.filter(pk__in=ids)
        if keep is not None:
            rows = rows.exclude(pk=keep)
        ended = [str(pk) for pk in rows.values_list("pk", flat=True)]
        SignIn.objects.filter(pk__in=ended, revoked_at=None).update(revoked_at=timezone.now())
        return ended

    # -- Tickets -----------------------------------------------------------------------------------------------------

    def store_ticket(self, user: Any, token: str, sign_in_id: str | None) -> datetime:
        """Stores a ticket; when it expires."""
        expires_at = timezone.now() + timedelta(seconds=settings.TICKET_LIFETIME)
        Ticket.objects.create(digest=_digest(token), user=user, sign_in_id=sign_in_id, expires_at=expires_at)
        return expires_at

    def take_ticket(self, token: str) -> Ticket | None:
        """Uses a ticket up. Only one of several takers gets it."""
        ticket = Ticket.objects.select_related("user", "sign_in").filter(pk=_digest(token)).first()
        if ticket is None:
            return None
        deleted, _ = Ticket.objects.filter(pk=ticket.pk).delete()
        return ticket if deleted == 1 and ticket.expires_at > timezone.now() else None

    def clear_expired(self, *, sign_ins_before: datetime) -> tuple[int, int]:
        """Removes expired tickets, and sign-ins that ended before a moment; how many of each."""
        tickets, _ = Ticket.objects.filter(expires_at__lt=timezone.now()).delete()
        ended = Q(expires_at__lt=sign_ins_before) | Q(revoked_at__lt=sign_ins_before)
        _, counts = SignIn.objects.filter(ended).delete()
        return tickets, counts.get(SignIn._meta.label, 0)


def _person_columns() -> tuple[str, ...]:
    name = get_user_model().USERNAME_FIELD
    return "pk", name, "mana_profile__guest_id", "mana_profile__display_name", "mana_profile__avatar"


def _identifiers(user: Any) -> dict[str, str]:
    """The identifiers that a user has by their name, address and number. What must be verified counts once it is."""
    kind = Identifier.Kind
    profile = Profile.objects.filter(user=user).only("phone", "verified_email", "verified_phone").first() or Profile()
    found = {kind.USERNAME: username_key(user.get_username())}
    email = email_key(address_of(user))
    if settings.UNIQUE_EMAIL and email and (not must_be_verified(kind.EMAIL) or profile.verified_email == email):
        found[kind.EMAIL] = email
    phone = profile.phone
    if settings.UNIQUE_PHONE and phone and (not must_be_verified(kind.PHONE) or profile.verified_phone == phone):
        found[kind.PHONE] = phone
    return {str(one): key for one, key in found.items() if 0 < len(key) <= 320}


def _name_for_searches(user: Any) -> None:
    guest_id = Profile.objects.filter(user=user).values_list("guest_id", flat=True).first()
    key = username_key(guest_id or user.get_username())[:320]
    if not SearchName.objects.filter(user=user, key=key).exists():
        SearchName.objects.update_or_create(user=user, defaults={"key": key})


def must_be_verified(kind: str) -> bool:
    """Whether an address or number is good for nothing until its owner has shown that it is theirs."""
    return bool({"email": settings.EMAIL_VERIFICATION, "phone": settings.PHONE_VERIFICATION}.get(kind) == "required")


def address_of(user: Any) -> str:
    """A user's e-mail address; empty if there is none, or the project's user model knows none."""
    field = user.get_email_field_name()
    return getattr(user, field) or "" if _has_field(field) else ""


def _begins(field: str, prefix: str) -> Q:
    """Rows whose ``field``, an ``ExactCharField`` with an index, begins with ``prefix``; the index serves.

    PostgreSQL has an index for LIKE, and compares in the order of a language; the others compare letter by letter.
    """
    following = after(prefix)
    if _connection().vendor == "postgresql" or following is None:
        return Q(**{f"{field}__startswith": prefix})
    return Q(**{f"{field}__gte": prefix, f"{field}__lt": following})


def _has_field(name: str) -> bool:
    return any(field.name == name for field in get_user_model()._meta.get_fields())


def _connection() -> Any:
    return connections[router.db_for_read(get_user_model()) or "default"]


def _storable(pks: list[Any]) -> list[Any]:
    # An integer over 64 bits names nobody, but makes the database driver fail.
    return [pk for pk in pks if not isinstance(pk, int) or -(2**63) <= pk < 2**63]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
