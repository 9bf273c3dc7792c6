"""Roles and what they may do: Django's groups and permissions, asked in a way that a busy writer can afford.

The groups ``admin``, ``moderator``, ``user`` and ``guest`` are set up by ``migrate``. Each permission is given to a
role once, so that what an administrator takes away stays away. Who is in none of the four has ``MANA["DEFAULT_ROLE"]``.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import transaction

from mana.accounts.models import GivenPermission, Profile
from mana.conf import settings
from mana.protocol import ErrorCode, ManaError

CREATE_ROOM = "create_room"
JOIN_ROOM = "join_room"
DELETE_ROOM = "delete_room"
SEND_MESSAGE = "send_message"
START_CALL = "start_call"
END_CALL = "end_call"
ALL = frozenset((CREATE_ROOM, JOIN_ROOM, DELETE_ROOM, SEND_MESSAGE, START_CALL, END_CALL))

ADMIN, MODERATOR, USER, GUEST = "admin", "moderator", "user", "guest"
#: From the most to the least; the first that somebody has is their role.
ROLES = (ADMIN, MODERATOR, USER, GUEST)
AT_FIRST = {
    ADMIN: ALL,
    MODERATOR: ALL,
    USER: frozenset((CREATE_ROOM, JOIN_ROOM, SEND_MESSAGE, START_CALL)),
    GUEST: frozenset((JOIN_ROOM, SEND_MESSAGE)),
}

#: Users whose permissions a process remembers.
REMEMBERED = 50_000
_known: dict[Any, tuple[float, str, frozenset[str]]] = {}
_of_role: tuple[float, dict[str, set[str]]] | None = None
#: Fields of user models with permissions, and how they are asked for.
_COLUMNS = (("is_superuser", "is_superuser"), ("groups", "groups__name"))
_lock = threading.Lock()


# -- Asking ----------------------------------------------------------------------------------------------------------


def permissions_of(user_pk: Any) -> frozenset[str]:
    """What a user may do."""
    return _entry(user_pk)[2]


def role_of(user_pk: Any) -> str:
    """The highest of a user's roles; empty for none."""
    return _entry(user_pk)[1]


def require(user_pk: Any, codename: str) -> None:
    """Raises ``ManaError`` with ``forbidden`` if the user may not do that."""
    if codename not in permissions_of(user_pk):
        raise ManaError(ErrorCode.FORBIDDEN, f"Your role does not allow that ({codename}).")


def prepare(user_pks: Iterable[Any]) -> None:
    """Reads what several users may do at once, so that asking for each costs nothing."""
    oldest = time.monotonic() - settings.PERMISSIONS_CACHE
    missing = {pk for pk in user_pks if (known := _known.get(pk)) is None or known[0] < oldest}
    if missing:
        _read(missing)


def forget(*_: Any, **__: Any) -> None:
    """Forgets what was read, as after a change. Connected to the signals of Django's models."""
    global _of_role
    with _lock:
        _known.clear()
        _of_role = None


def _entry(user_pk: Any) -> tuple[float, str, frozenset[str]]:
    known = _known.get(user_pk)
    now = time.monotonic()
    if known is not None and now - known[0] < settings.PERMISSIONS_CACHE:
        return known
    # Whoever else was asked for lately is read along: one query per interval and process, not one per user.
    return _read({user_pk, *list(_known)[:1000]} if known is not None else {user_pk})[user_pk]


def _read(user_pks: set[Any]) -> dict[Any, tuple[float, str, frozenset[str]]]:
    read_at = time.monotonic()
    of_role = _roles()
    groups: dict[Any, set[str]] = defaultdict(set)
    extra: dict[Any, set[str]] = defaultdict(set)
    superusers = set()
    user_model = get_user_model()
    users = user_model._default_manager.filter(pk__in=user_pks)
    columns = [column for name, column in _COLUMNS if _has(user_model, name)]
    for row in users.values("pk", *columns) if columns else ():
        if row.get("is_superuser"):
            superusers.add(row["pk"])
        groups[row["pk"]] |= {row.get("groups__name")} & set(ROLES)
    if _has(user_model, "user_permissions"):
        of_us = {"user_permissions__content_type__app_label": Profile._meta.app_label}
        for pk, codename in users.filter(**of_us).values_list("pk", "user_permissions__codename"):
            extra[pk].add(codename)
    found = {}
    for pk in user_pks:
        roles = groups[pk] or {settings.DEFAULT_ROLE} - {""}
        allowed = ALL if pk in superusers else frozenset().union(*(of_role.get(role, ()) for role in roles), extra[pk])
        role = ADMIN if pk in superusers else next((role for role in ROLES if role in roles), "")
        found[pk] = (read_at, role, allowed & ALL)
    with _lock:
        if len(_known) > REMEMBERED:
            _known.clear()
        _known.update(found)
    return found


def _roles() -> dict[str, set[str]]:
    """What each role may do, remembered as long as what users may."""
    global _of_role
    now = time.monotonic()
    if _of_role is None or now - _of_role[0] >= settings.PERMISSIONS_CACHE:
        allowed: dict[str, set[str]] = defaultdict(set)
        rows = Group.objects.filter(name__in=ROLES, permissions__content_type__app_label=Profile._meta.app_label)
        for name, codename in rows.values_list("name", "permissions__codename"):
            allowed[name].add(codename)
        _of_role = (now, allowed)
    return _of_role[1]


def _has(user_model: Any, name: str) -> bool:
    return any(field.name == name for field in user_model._meta.get_fields())


# -- Changing --------------------------------------------------------------------------------------------------------


def grant(whom: Any, what: str) -> None:
    """Gives a role or a permission to a user, or a permission to a role (by its name)."""
    if isinstance(whom, str):
        _group(whom).permissions.add(_permission(what))
    elif what in ROLES:
        _with_groups(whom).groups.add(_group(what))
    else:
        _with_groups(whom).user_permissions.add(_permission(what))
    transaction.on_commit(forget)
    forget()


def revoke(whom: Any, what: str) -> None:
    """Takes a role or a permission from a user, or a permission from a role.

    Who loses the last role becomes a guest: without any they would fall back to ``DEFAULT_ROLE``. What a role allows
    can't be taken from one of its users alone.
    """
    if isinstance(whom, str):
        _group(whom).permissions.remove(_permission(what))
    elif what in ROLES:
        with transaction.atomic():
            groups = _with_groups(whom).groups
            if not groups.filter(name__in=ROLES).exclude(name=what).exists():
                if what == GUEST:
                    raise ManaError(
                        ErrorCode.CONFLICT, "This is their last role: give another, or disable the account."
                    )
                groups.add(_group(GUEST))
            groups.remove(_group(what))
    else:
        _with_groups(whom).user_permissions.remove(_permission(what))
    transaction.on_commit(forget)
    forget()


def _with_groups(user: Any) -> Any:
    if not hasattr(user, "groups"):
        raise ManaError(ErrorCode.NOT_SUPPORTED, "The project's user model has no groups (PermissionsMixin).")
    return user


def _group(name: str) -> Group:
    if name not in ROLES:
        raise ManaError(ErrorCode.INVALID, f"{name!r} is no role; there are {', '.join(ROLES)}.")
    return Group.objects.get_or_create(name=name)[0]


def _permission(codename: str) -> Permission:
    if codename not in ALL:
        raise ManaError(ErrorCode.INVALID, f"{codename!r} is no permission; there are {', '.join(sorted(ALL))}.")
    return Permission.objects.get(codename=codename, content_type__app_label=Profile._meta.app_label)


# -- Setting up ------------------------------------------------------------------------------------------------------


def set_up(using: str) -> None:
    """Makes the groups, and gives each role the permissions that it was never given. After ``migrate``."""
    create_permissions(apps.get_app_config(Profile._meta.app_label), verbosity=0, using=using)
    given = set(GivenPermission.objects.using(using).values_list("role", "codename"))
    missing = [
        (role, codename) for role in ROLES for codename in sorted(AT_FIRST[role]) if (role, codename) not in given
    ]
    if not missing:
        return
    permissions = {
        permission.codename: permission
        for permission in Permission.objects.using(using).filter(content_type__app_label=Profile._meta.app_label)
    }
    with transaction.atomic(using=using):
        for role, codename in missing:
            group, _created = Group.objects.using(using).get_or_create(name=role)
            group.permissions.add(permissions[codename])
        GivenPermission.objects.using(using).bulk_create(
            [GivenPermission(role=role, codename=codename) for role, codename in missing], ignore_conflicts=True
        )
    forget()
