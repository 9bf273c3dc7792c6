"""Whether an address or number is its user's: by a token that is mailed to it, or a code that the project sends."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.utils.encoding import force_str
from django.utils.http import urlsafe_base64_decode

from mana import signals
from mana.accounts import mails, stores
from mana.accounts.live import send_signal
from mana.accounts.models import Identifier
from mana.accounts.names import email_key
from mana.accounts.phones import verifier
from mana.conf import settings
from mana.protocol import ErrorCode, ManaError

Kind = Identifier.Kind


class _EmailTokens(PasswordResetTokenGenerator):
    """Made like those for forgotten passwords (an HMAC, good for ``PASSWORD_RESET_TIMEOUT``), for another purpose."""

    key_salt = "mana.accounts.verification.email"

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        # The address, so that a token is good for no other; what is verified already, so that it works once.
        verified = stores.profiles().get(user).verified_email
        return f"{user.pk}\n{email_key(stores.address_of(user))}\n{verified}\n{timestamp}"


email_tokens = _EmailTokens()


def is_verified(user: Any, kind: str) -> bool:
    """Whether the user has shown that their ``email`` or ``phone``, as it is now, is theirs."""
    profile = stores.profiles().get(user)
    if kind == Kind.PHONE:
        return bool(profile.phone) and profile.verified_phone == profile.phone
    address = stores.address_of(user)
    return bool(address) and profile.verified_email == email_key(address)


def request_email_verification(user: Any) -> None:
    """Mails a token to the user's address. Raises ``ManaError``: ``invalid`` without one, ``conflict`` if verified."""
    if not stores.address_of(user):
        raise ManaError(ErrorCode.INVALID, "This account has no e-mail address.")
    if is_verified(user, Kind.EMAIL):
        raise ManaError(ErrorCode.CONFLICT, "This address is verified.")
    mails.in_background(send_verification_mail, user)


def ask_for_verification(user: Any) -> None:
    """Mails a token for a new address, after the commit, where the project wants addresses verified."""
    if settings.EMAIL_VERIFICATION != "off" and stores.address_of(user) and not is_verified(user, Kind.EMAIL):
        transaction.on_commit(lambda: mails.in_background(send_verification_mail, user))


def send_verification_mail(user: Any) -> None:
    """Sends the mail, here and now."""
    mails.send_token(
        user,
        stores.address_of(user),
        template="email_verification",
        page=settings.EMAIL_VERIFICATION_URL,
        token=email_tokens.make_token(user),
    )


def verify_email(uid: str, token: str) -> Any:
    """Takes what a mail said; the user whose address is verified by it. A token works once.

    Raises ``ManaError``: ``forbidden`` for a token that is not valid, ``conflict`` where another account was faster.
    """
    try:
        user = stores.accounts().by_pk(force_str(urlsafe_base64_decode(uid)))
    except (ValueError, UnicodeDecodeError):
        user = None
    if user is None or not user.is_active or not email_tokens.check_token(user, token):
        raise ManaError(ErrorCode.FORBIDDEN, "This link is not valid any more: ask for another mail.")
    mark_verified(user, Kind.EMAIL, email_key(stores.address_of(user)))
    return user


def request_phone_verification(user: Any) -> None:
    """Has the project's ``PHONE_VERIFIER`` send a code. Raises ``ManaError`` as ``request_email_verification`` does,
    ``not_supported`` without one."""
    phone = stores.profiles().get(user).phone
    if not phone:
        raise ManaError(ErrorCode.INVALID, "This account has no phone number.")
    if is_verified(user, Kind.PHONE):
        raise ManaError(ErrorCode.CONFLICT, "This number is verified.")
    verifier().begin(user, phone)


def verify_phone(user: Any, code: str) -> None:
    """Takes the code. Raises ``ManaError``: ``forbidden`` for a wrong one, ``conflict`` where another was faster."""
    phone = stores.profiles().get(user).phone
    if not phone or not verifier().confirm(user, phone, code):
        raise ManaError(ErrorCode.FORBIDDEN, "This is not the code that was sent.")
    mark_verified(user, Kind.PHONE, phone)


def mark_verified(user: Any, kind: str, key: str) -> None:
    """Remembers that an address or number, as it is compared, is the user's. Raises ``ManaError`` with ``conflict``.

    For a project that knows it by other means, such as a sign-in with another provider.
    """
    try:
        with transaction.atomic():
            profile = stores.profiles().get(user)
            setattr(profile, f"verified_{kind}", key)
            stores.profiles().save(profile, f"verified_{kind}")
            stores.accounts().identify(user)
    except stores.Taken:
        raise ManaError(ErrorCode.CONFLICT, "Another account has this already.") from None
    send_signal(signals.identifier_verified, type(user), user=user, kind=str(kind))
