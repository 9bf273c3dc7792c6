"""Deleting an account.

What is the user's own goes: profile, avatar, devices, sign-ins, contacts, blocks, preferences, notifications. What
they wrote stays in its rooms, without a name: ``Message.sender`` becomes empty. Rooms are left first, so that members
learn of it in the order of all events. With ``MANA["ACCOUNT_DELETION"] = "anonymise"``, or where the project's own
tables protect the row, an inactive user without any of this remains.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import ProtectedError, RestrictedError

from mana import signals
from mana.accounts import avatars, stores
from mana.accounts.live import audience, send_signal, tell
from mana.accounts.models import Identifier, SearchName
from mana.accounts.services.sign_ins import end_sign_ins
from mana.conf import settings
from mana.protocol.server import PersonInfo, ProfileEvent

_departures: list[Callable[[Any], None]] = []


def departs(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Has a function called with a user whose account is about to be deleted, once all who may refuse that have not."""
    if function not in _departures:
        _departures.append(function)
    return function


def delete_account(user: Any) -> None:
    """Deletes an account. Raises what a receiver of ``account_deleting`` raises; then nothing was deleted."""
    who = stores.person(user.pk)
    if who is None:
        return
    pk = user.pk
    told = [one for one in audience(pk, who.user_id) if one != who.user_id]
    signals.account_deleting.send(type(user), user=user)
    for depart in _departures:
        depart(user)
    with transaction.atomic():
        avatar = stores.profiles().get(user).avatar
        end_sign_ins(user, is_leaving=True)
        if settings.ACCOUNT_DELETION == "delete":
            try:
                with transaction.atomic():
                    stores.accounts().delete(user)
            except (ProtectedError, RestrictedError):
                _anonymise(user)
        else:
            _anonymise(user)
        transaction.on_commit(lambda: avatars.remove(avatar))
        gone = PersonInfo(user_id=who.user_id, username="", deleted=True)
        tell(told, ProfileEvent(person=gone))
        send_signal(signals.account_deleted, get_user_model(), user_id=who.user_id, pk=pk)


def _anonymise(user: Any) -> None:
    """Empties a user's row and removes what hangs on it."""
    for relation in user._meta.related_objects:
        # Everything of mana's that dies with a user dies here too; messages and the project's own rows stay.
        if relation.related_model._meta.db_table.startswith(settings.TABLE_PREFIX) and relation.on_delete is not None:
            if relation.on_delete.__name__ == "CASCADE":
                relation.related_model._default_manager.filter(**{relation.field.name: user}).delete()
            elif relation.on_delete.__name__ == "SET_NULL":
                relation.related_model._default_manager.filter(**{relation.field.name: user}).update(
                    **{relation.field.name: None}
                )
    name = f"deleted-{secrets.token_hex(8)}"
    fields = {field.name for field in user._meta.concrete_fields}
    setattr(user, user.USERNAME_FIELD, name)
    for field in ("first_name", "last_name", user.get_email_field_name()):
        if field in fields and field != user.USERNAME_FIELD:
            setattr(user, field, "")
    user.is_active = False
    user.set_unusable_password()
    user.save()
    for model in (Identifier, SearchName):  # also of the name that it has got just now
        model._default_manager.filter(user=user).delete()
    if hasattr(user, "groups"):
        user.groups.clear()
        user.user_permissions.clear()
