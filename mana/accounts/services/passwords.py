"""Passwords: change, and reset by e-mail."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.contrib.auth import get_user_model, password_validation
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.encoding import force_str
from django.utils.http import urlsafe_base64_decode

from mana.accounts import mails, stores
from mana.accounts.models import Identifier
from mana.accounts.names import email_key
from mana.accounts.services.sign_ins import end_sign_ins, keep_sign_in
from mana.accounts.services.verification import mark_verified
from mana.conf import settings
from mana.protocol import ErrorCode, ManaError


def check_password(user: Any, password: str) -> None:
    """That it is the user's password. Raises ``ValidationError`` of the field ``password``."""
    if not user.check_password(password):
        raise ValidationError({"password": ValidationError("This is not your password.", code="invalid")})


def change_password(user: Any, old: str, new: str, *, keep: str | None = None) -> None:
    """Sets another password and ends all sign-ins but ``keep``. Raises ``ValidationError`` of the fields."""
    if not user.check_password(old):
        raise ValidationError({"old_password": ValidationError("This is not your password.", code="invalid")})
    _set_password(user, new, "password", keep=keep)


def request_password_reset(email: str) -> None:
    """Sends a mail to everybody who has this address and a password.

    It returns at once and tells nothing: the work is done on a thread, so that the time tells nothing either.
    """
    if len(email) <= 320 and "\x00" not in email:
        mails.in_background(send_reset_mails, email)


def send_reset_mails(email: str) -> int:
    """Sends the mails, here and now; how many."""
    sent = 0
    for user in stores.accounts().by_email(email.strip()):
        address = getattr(user, user.get_email_field_name())
        # Databases differ in what they take for the same letters; the mail must not go to a look-alike's address.
        if user.has_usable_password() and email_key(address) == email_key(email):
            mails.send_token(
                user,
                address,
                template="password_reset",
                page=settings.PASSWORD_RESET_URL,
                token=default_token_generator.make_token(user),
            )
            sent += 1
    return sent


def reset_password(uid: str, token: str, password: str) -> None:
    """Sets the password of the user whom a mail named, and ends all sign-ins. A token works once.

    Raises ``ManaError`` with ``forbidden`` for a token that is not valid, ``ValidationError`` for a weak password.
    """
    try:
        user = stores.accounts().by_pk(force_str(urlsafe_base64_decode(uid)))
    except (ValueError, UnicodeDecodeError):
        user = None
    if user is None or not user.is_active or not default_token_generator.check_token(user, token):
        raise ManaError(ErrorCode.FORBIDDEN, "This link is not valid any more: ask for another mail.")
    _set_password(user, password, "password")
    with suppress(ManaError):  # another account has shown the same before
        # The token came to this address: it is theirs.
        mark_verified(user, Identifier.Kind.EMAIL, email_key(stores.address_of(user)))


def _set_password(user: Any, password: str, field: str, *, keep: str | None = None) -> None:
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({field: error.error_list}) from None
    with transaction.atomic():
        # Two uses of one token at the same time: only the first still finds the old password.
        locked = get_user_model()._default_manager.select_for_update().get(pk=user.pk)
        if locked.password != user.password:
            raise ManaError(ErrorCode.CONFLICT, "The password was changed meanwhile.")
        user.set_password(password)
        user.save(update_fields=["password"])
        password_validation.password_changed(password, user)
        if keep is not None:
            keep_sign_in(user, keep)
        end_sign_ins(user, keep=keep)
