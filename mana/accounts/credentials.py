"""Whether what a session was opened with still holds, and what makes nodes ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_save, pre_delete

from mana.accounts import stores
from mana.accounts.fingerprint import matches
from mana.accounts.models import SignIn
from mana.accounts.sessions import user_of_session
from mana.protocol import CloseCode
from mana.realtime.credentials import Credential
from mana.realtime.identity import Identity
from mana.realtime.revocation import recheck


def ended(credentials: Sequence[Credential]) -> dict[int, int]:
    """Those of the credentials that no longer hold, by position: 4003 for a user who is gone or disabled, 4009 for a
    sign-in, password, Django session or device that is."""
    accounts = stores.accounts()
    users = accounts.active({credential.identity.user_pk for credential in credentials})
    sign_ins = accounts.open_sign_ins({key for one in credentials if (key := one.identity.sign_in_id)})
    devices = stores.devices().existing(
        {(credential.identity.user_pk, credential.device_id) for credential in credentials if credential.device_id}
    )
    gone: dict[int, int] = {}
    for position, (identity, device_id) in enumerate(credentials):
        user = users.get(identity.user_pk)
        known = not device_id or (identity.user_pk, device_id) in devices
        if user is None:
            gone[position] = CloseCode.FORBIDDEN
        elif not known or not _holds(user, identity, sign_ins.get(identity.sign_in_id or "")):
            gone[position] = CloseCode.SIGNED_OUT
    return gone


def _holds(user: Any, identity: Identity, sign_in: SignIn | None) -> bool:
    if identity.sign_in_id and sign_in is None:
        return False
    # A Django session gets another key now and then; its sign-in follows it.
    session_key = sign_in.session_key if sign_in is not None else identity.session_key
    if session_key:
        return bool(user_of_session(session_key) == user)
    return matches(user, sign_in.fingerprint if sign_in is not None else identity.fingerprint)


def watch() -> None:
    """Has every change of a user that may end their credentials, whoever makes it, looked at by all nodes."""
    user_model = get_user_model()
    post_save.connect(_saved, sender=user_model, dispatch_uid="mana.accounts.saved")
    pre_delete.connect(_deleted, sender=user_model, dispatch_uid="mana.accounts.deleted")
    user_logged_out.connect(_logged_out, dispatch_uid="mana.accounts.logged_out")


def recheck_user(user: Any) -> None:
    """Has all nodes look at the sessions of a user."""
    person = stores.person(user.pk)
    if person is not None:
        recheck(person.user_id)


def _saved(instance: Any, created: bool, update_fields: frozenset[str] | None = None, **_: Any) -> None:
    if not created and (update_fields is None or update_fields & {"password", "is_active"}):
        recheck_user(instance)


def _deleted(instance: Any, **_: Any) -> None:
    recheck_user(instance)


def _logged_out(user: Any, **_: Any) -> None:
    if user is not None:
        recheck_user(user)
