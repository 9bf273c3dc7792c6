"""What follows when a project makes and changes users by itself, and what is cleared away."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, router
from django.db.models import Q

from mana.accounts import permissions, stores
from mana.accounts.models import GivenPermission, Identifier, SearchName

#: Users that are read at a time when identifiers are made for the accounts of an existing site.
BATCH = 1000


def user_saved(sender: Any, instance: Any, raw: bool, update_fields: Any = None, **_: Any) -> None:
    """Follows names, addresses and superusers. A name that looks like an older account's stays without identifier."""
    if raw:
        return
    followed = {instance.USERNAME_FIELD, instance.get_email_field_name(), "is_superuser"}
    if update_fields is None or followed & set(update_fields):
        permissions.forget()
        stores.accounts().identify(instance, force=False)


def set_up_roles(using: str, **_: Any) -> None:
    """Makes the groups of roles. After ``migrate``."""
    if is_here(GivenPermission, using):
        permissions.set_up(using)


def identify_everybody(using: str, **_: Any) -> None:
    """Makes the identifiers of accounts that were there before this app. After ``migrate``."""
    if not (is_here(Identifier, using) and is_here(SearchName, using)):
        return
    nameless = Q(mana_identifiers=None) | Q(mana_search_name=None)
    missing = get_user_model()._default_manager.using(using).filter(nameless).order_by("pk")
    store = stores.accounts()
    batch = list(missing[:BATCH])
    while batch:
        for user in batch:
            store.identify(user, force=False)
        batch = list(missing.filter(pk__gt=batch[-1].pk)[:BATCH])


def is_here(model: Any, using: str) -> bool:
    """Whether a database has a model's table: it may be migrated to before that, or hold other apps only."""
    return bool(
        router.allow_migrate_model(using, model)
        and model._meta.db_table in connections[using].introspection.table_names()
    )
