"""New accounts: people's, and guests'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from mana import signals
from mana.accounts import permissions, stores
from mana.accounts.live import send_signal, tell_of_profile
from mana.accounts.models import Identifier
from mana.accounts.names import (
    check_username,
    checked_email,
    checked_phone,
    email_key,
    is_guest_name,
    new_guest_name,
    username_key,
)
from mana.accounts.services.profiles import without_controls
from mana.accounts.services.sign_ins import keep_sign_in
from mana.accounts.services.verification import ask_for_verification
from mana.conf import settings
from mana.protocol import ErrorCode, ManaError
from mana.retries import retried

TAKEN = {
    "username": "This name is taken.",
    "email": "This e-mail address has an account already.",
    "phone": "This phone number has an account already.",
}


def register(*, username: str, password: str, email: str = "", phone: str = "") -> Any:
    """Makes an account. Raises ``django.core.exceptions.ValidationError`` with a dict of the fields that are wrong."""
    user_model = get_user_model()
    user = user_model(**{user_model.USERNAME_FIELD: user_model.normalize_username(username)})
    errors: dict[str, Any] = {}
    _check_username(user, username, errors)
    email = _checked_email(user, email, errors)
    phone = _checked_phone(phone, errors)
    _check_password(password, user, errors)
    if errors:
        raise ValidationError(errors)
    user.set_password(password)

    def make() -> None:
        stores.accounts().create(user, phone=phone)
        _begin_as(user, permissions.USER)

    _uniquely(user, make)
    ask_for_verification(user)
    send_signal(signals.account_created, user_model, user=user)
    return user


def register_guest(*, display_name: str = "") -> Any:
    """Makes an account without a password, with the role ``guest``. Raises ``ManaError`` where no guests are let in."""
    if not settings.GUESTS:
        raise ManaError(ErrorCode.FORBIDDEN, "Guests are not let in here.")
    user_model = get_user_model()
    user = user_model(**{user_model.USERNAME_FIELD: new_guest_name()})
    user.set_unusable_password()

    def make() -> None:
        stores.accounts().create(user)
        _begin_as(user, permissions.GUEST)
        if display_name.strip():
            profile = stores.profiles().get(user)
            profile.display_name = without_controls("display_name", display_name)
            profile.full_clean(exclude=["user"])
            stores.profiles().save(profile, "display_name")

    _uniquely(user, make)
    send_signal(signals.account_created, user_model, user=user)
    return user


def claim(user: Any, *, username: str, password: str, email: str = "", phone: str = "", keep: str | None = None) -> Any:
    """Makes a guest's account one with a name and a password; rooms and messages stay theirs. The sign-in ``keep`` goes
    on, others end as with every new password.

    Raises ``ValidationError`` as ``register`` does, and ``ManaError`` with ``conflict`` for who is no guest: an account
    without a password may also be one that signs in elsewhere, and was made a guest by an administrator.
    """
    if user.has_usable_password():
        raise ManaError(ErrorCode.CONFLICT, "This account has a password already.")
    if not is_guest_name(user.get_username()):
        raise ManaError(ErrorCode.CONFLICT, "This is not a guest's account.")
    if not settings.REGISTRATION_OPEN:
        raise ManaError(ErrorCode.FORBIDDEN, "Registration is closed.")
    errors: dict[str, Any] = {}
    setattr(user, user.USERNAME_FIELD, type(user).normalize_username(username))
    _check_username(user, username, errors)
    email = _checked_email(user, email, errors)
    phone = _checked_phone(phone, errors)
    _check_password(password, user, errors)
    if errors:
        raise ValidationError(errors)
    user.set_password(password)

    def make() -> None:
        stores.accounts().create(user, phone=phone)
        if hasattr(user, "groups"):
            permissions.grant(user, permissions.USER)
            permissions.revoke(user, permissions.GUEST)
        if keep is not None:
            keep_sign_in(user, keep)

    _uniquely(user, make)
    ask_for_verification(user)
    tell_of_profile(user.pk)
    send_signal(signals.profile_changed, type(user), user=user)
    return user


def change_username(user: Any, username: str) -> None:
    """Gives a user another name. Raises ``ValidationError``, and ``ManaError`` with ``conflict`` for guests, who get
    one with ``claim``."""
    if is_guest_name(user.get_username()):
        raise ManaError(ErrorCode.CONFLICT, "A guest gets a name together with a password: claim the account.")
    errors: dict[str, Any] = {}
    setattr(user, user.USERNAME_FIELD, type(user).normalize_username(username))
    _check_username(user, username, errors)
    _save_identifier(user, errors, user.USERNAME_FIELD)
    tell_of_profile(user.pk)
    send_signal(signals.profile_changed, type(user), user=user)


def change_email(user: Any, email: str) -> None:
    """Gives a user another e-mail address, or none. Raises ``ValidationError``."""
    errors: dict[str, Any] = {}
    field = user.get_email_field_name()
    if email.strip():
        _checked_email(user, email, errors)
    elif settings.EMAIL == "required":
        errors["email"] = ValidationError("This field is required.")
    else:
        setattr(user, field, "")
    _save_identifier(user, errors, field)
    ask_for_verification(user)


def change_phone(user: Any, phone: str) -> None:
    """Gives a user another phone number, or none. Raises ``ValidationError``."""
    phone = check_phone(user, phone)
    store = stores.profiles()
    profile = store.get(user)
    profile.phone = phone

    def save() -> None:
        store.save(profile, "phone")
        stores.accounts().identify(user)

    _uniquely(user, save)


def check_phone(user: Any, phone: str) -> str:
    """A number that a user may have, as it is kept. Raises ``ValidationError`` of the field ``phone``."""
    errors: dict[str, Any] = {}
    phone = _checked_phone(phone, errors, user_pk=user.pk)
    if errors:
        raise ValidationError(errors)
    return phone


def _save_identifier(user: Any, errors: dict[str, Any], field: str) -> None:
    if errors:
        raise ValidationError(errors)

    def save() -> None:
        user.save(update_fields=[field])
        stores.accounts().identify(user)

    _uniquely(user, save)


def _uniquely(user: Any, work: Callable[[], None]) -> None:
    """Stores in one transaction, again after a deadlock; that another was faster becomes an error of the field."""
    adding = user._state.adding

    @retried
    def store() -> None:
        if adding:  # an earlier try was rolled back
            user.pk, user._state.adding = None, True
        with transaction.atomic():
            work()

    try:
        store()
    except stores.Taken as taken:
        raise ValidationError({taken.kind: ValidationError(TAKEN[taken.kind], code="conflict")}) from None
    except IntegrityError:
        raise ValidationError({"username": ValidationError(TAKEN["username"], code="conflict")}) from None


def _check_username(user: Any, username: str, errors: dict[str, Any]) -> None:
    user_model = type(user)
    name_field = user_model.USERNAME_FIELD
    try:
        user.clean_fields(exclude=[field.name for field in user._meta.fields if field.name != name_field])
        if name_field != user_model.get_email_field_name():
            # As it is stored: a wide @ or digit has become a plain one.
            check_username(username)
            check_username(user.get_username())
    except ValidationError as error:
        errors["username"] = error.error_dict[name_field] if hasattr(error, "error_dict") else error
        return
    key = username_key(user.get_username())
    others = user_model._default_manager.filter(**{f"{name_field}__iexact": user.get_username()}).exclude(pk=user.pk)
    taken = stores.accounts().is_taken(Identifier.Kind.USERNAME, key, by_another_than=user.pk)
    if not key or taken or others.exists():
        errors["username"] = ValidationError(TAKEN["username"], code="conflict")


def _checked_email(user: Any, email: str, errors: dict[str, Any]) -> str:
    field = user.get_email_field_name()
    if field == user.USERNAME_FIELD:
        return str(user.get_username())
    if settings.EMAIL == "off" or not email.strip():
        if settings.EMAIL == "required":
            errors["email"] = ValidationError("This field is required.")
        elif settings.EMAIL == "off" and email.strip():
            errors["email"] = ValidationError("E-mail addresses are not kept here.")
        return ""
    try:
        email = type(user)._default_manager.normalize_email(checked_email(email))
        if settings.UNIQUE_EMAIL and stores.accounts().is_taken(
            Identifier.Kind.EMAIL, email_key(email), by_another_than=user.pk
        ):
            raise ValidationError(TAKEN["email"], code="conflict")
        setattr(user, field, email)
        user.clean_fields(exclude=[one.name for one in user._meta.fields if one.name != field])
    except ValidationError as error:
        errors["email"] = error.error_dict[field] if hasattr(error, "error_dict") else error
    return email


def _checked_phone(phone: str, errors: dict[str, Any], *, user_pk: Any = None) -> str:
    if settings.PHONE == "off" or not phone.strip():
        if settings.PHONE == "required":
            errors["phone"] = ValidationError("This field is required.")
        elif settings.PHONE == "off" and phone.strip():
            errors["phone"] = ValidationError("Phone numbers are not kept here.")
        return ""
    try:
        phone = checked_phone(phone)
        if settings.UNIQUE_PHONE and stores.accounts().is_taken(Identifier.Kind.PHONE, phone, by_another_than=user_pk):
            raise ValidationError(TAKEN["phone"], code="conflict")
    except ValidationError as error:
        errors["phone"] = error
    return phone


def _check_password(password: str, user: Any, errors: dict[str, Any]) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        errors["password"] = error


def _begin_as(user: Any, role: str) -> None:
    if hasattr(user, "groups"):
        permissions.grant(user, role)
