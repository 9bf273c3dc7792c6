"""Queries and writes for nodes, sessions and presence. Synchronous; callers bring the thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models import DateTimeField, ExpressionWrapper, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from mana.conf import settings
from mana.realtime.models import LastSeen, Node, Revocation, Session


def ago(seconds: float) -> Any:
    """So long ago by the database's clock; those of nodes may differ."""
    return ExpressionWrapper(Now() - Value(timedelta(seconds=seconds)), output_field=DateTimeField())


def _alive_since() -> Any:
    """The time before which a sign of life is too old."""
    return ago(settings.PRESENCE_LEASE)


def living_nodes() -> QuerySet[Node]:
    """The nodes that have renewed their lease."""
    return Node.objects.filter(seen_at__gte=_alive_since())


def begin_node(node_id: str) -> set[Any]:
    """Registers a node. Gives the users whose sockets an earlier process of that name left behind."""
    with transaction.atomic():
        left = set(Session.objects.filter(node_id=node_id).values_list("user_id", flat=True))
        Node.objects.filter(pk=node_id).delete()
        Node.objects.create(pk=node_id, seen_at=Now())
    return left


def renew_node(node_id: str) -> bool:
    """Renews a node's lease. ``False`` if others had given it up, so that its sessions must be stored again."""
    if Node.objects.filter(pk=node_id).update(seen_at=Now()):
        return True
    Node.objects.create(pk=node_id, seen_at=Now())
    return False


def retire_node(node_id: str) -> None:
    """Has a node's lease end as soon as its users may be said to be gone. One without sessions is forgotten at once."""
    if not Node.objects.filter(pk=node_id, sessions=None).delete()[0]:
        Node.objects.filter(pk=node_id).update(seen_at=ago(max(0.0, settings.PRESENCE_LEASE - settings.PRESENCE_GRACE)))


def add_sessions(rows: Iterable[Session]) -> None:
    """Stores open sockets. Those already there stay as they are; those of users who are gone by now are left out."""
    rows = list(rows)
    users = _existing({row.user_id for row in rows})
    Session.objects.bulk_create([row for row in rows if row.user_id in users], ignore_conflicts=True, batch_size=500)


def remove_sessions(session_ids: Collection[str]) -> None:
    """Forgets closed sockets."""
    Session.objects.filter(pk__in=session_ids).delete()


def online_users(user_pks: Collection[Any], *, except_sessions: Collection[str] = ()) -> set[Any]:
    """Those of the users that have an open socket on a living node."""
    sessions = Session.objects.filter(user_id__in=user_pks, node__seen_at__gte=_alive_since())
    if except_sessions:
        sessions = sessions.exclude(pk__in=except_sessions)
    return set(sessions.values_list("user_id", flat=True))


def online_devices(user_pk: Any) -> set[str]:
    """The devices of a user that have an open socket on a living node."""
    rows = Session.objects.filter(user_id=user_pk, node__seen_at__gte=_alive_since())
    return set(rows.values_list("device_id", flat=True))


def last_seen(user_pks: Collection[Any]) -> dict[Any, datetime]:
    """When users who are offline were last online."""
    return dict(LastSeen.objects.filter(user_id__in=user_pks).values_list("user_id", "at"))


def mark_last_seen(user_pks: Collection[Any]) -> datetime:
    """Notes that users went offline now, those that still exist; the time that was noted."""
    now = timezone.now()
    LastSeen.objects.bulk_create(
        [LastSeen(user_id=pk, at=now) for pk in sorted(_existing(user_pks), key=str)],
        update_conflicts=True,
        update_fields=["at"],
        # MySQL knows conflicts of any unique key only and refuses to be told which.
        unique_fields=None if _is_mysql() else ["user"],
    )
    return now


def dead_nodes() -> list[str]:
    """The nodes whose lease ran out."""
    return list(Node.objects.filter(seen_at__lt=_alive_since()).values_list("pk", flat=True))


def bury_node(node_id: str) -> set[Any]:
    """Removes a node if its lease ran out. Gives the users who had sockets on it, if this call removed it."""
    with transaction.atomic():
        users = set(Session.objects.filter(node_id=node_id).values_list("user_id", flat=True))
        removed, _ = Node.objects.filter(pk=node_id, seen_at__lt=_alive_since()).delete()
    return users if removed else set()


# -- Revocation ------------------------------------------------------------------------------------------------------


def add_revocation(user_id: str, session_id: str) -> str:
    """Stores a hint; the database that it went to."""
    using: str = router.db_for_write(Revocation)
    Revocation.objects.using(using).create(user_id=user_id, session_id=session_id)
    return using


def recent_revocations(seconds: float) -> list[Revocation]:
    """The hints of the last seconds."""
    return list(Revocation.objects.filter(created_at__gte=ago(seconds)).order_by("pk"))


def forget_revocations(seconds: float) -> None:
    """Deletes hints that are older."""
    Revocation.objects.filter(created_at__lt=ago(seconds)).delete()


def sessions_of(user_pk: Any) -> list[str]:
    """The ids of a user's open sockets."""
    return list(Session.objects.filter(user_id=user_pk).values_list("pk", flat=True))


def sessions_of_disabled_users(node_id: str) -> list[str]:
    """The sessions of a node whose users are disabled."""
    if not any(field.name == "is_active" for field in get_user_model()._meta.concrete_fields):
        return []
    rows = Session.objects.filter(node_id=node_id, user__is_active=False)
    return list(rows.values_list("pk", flat=True))


def _existing(user_pks: Collection[Any]) -> set[Any]:
    return set(get_user_model()._default_manager.filter(pk__in=user_pks).values_list("pk", flat=True))


def _is_mysql() -> bool:
    return connections[router.db_for_write(LastSeen)].vendor == "mysql"
