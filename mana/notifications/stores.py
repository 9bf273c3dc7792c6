"""Queries and writes for notifications and push subscriptions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Count, QuerySet
from django.utils import timezone

from mana.accounts.fingerprint import matches
from mana.accounts.stores import accounts
from mana.conf import settings
from mana.notifications.models import Notification, PushSubscription, digest_of

#: Users whom a broadcast reads at a time.
BATCH = 500


def add(rows: list[Notification]) -> None:
    """Stores notifications, and removes the oldest of users who have too many."""
    Notification.objects.bulk_create(rows, batch_size=BATCH)
    users = {row.user_id for row in rows}
    counts = Notification.objects.filter(user_id__in=users).values_list("user_id").annotate(count=Count("pk"))
    for user_pk, count in counts.filter(count__gt=settings.MAX_NOTIFICATIONS):
        newest = of_user(user_pk).order_by("-created_at", "-pk")
        too_many = list(newest.values_list("pk", flat=True)[settings.MAX_NOTIFICATIONS : count])
        Notification.objects.filter(pk__in=too_many).delete()


def of_user(user_pk: Any, *, unread: bool = False) -> QuerySet[Notification]:
    """A user's notifications."""
    rows = Notification.objects.filter(user_id=user_pk)
    return rows.filter(read_at=None) if unread else rows


def unread_count(user_pk: Any) -> int:
    """How many a user has not read."""
    return of_user(user_pk, unread=True).count()


def mark_read(user_pk: Any, ids: Collection[UUID] | None) -> list[UUID]:
    """Marks some, or all, as read; the ids of those that were not before."""
    rows = of_user(user_pk, unread=True)
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    changed = list(rows.values_list("pk", flat=True))
    Notification.objects.filter(pk__in=changed, read_at=None).update(read_at=timezone.now())
    return changed


def remove(user_pk: Any, ids: Collection[UUID] | None) -> int:
    """Removes some of a user's, or all."""
    rows = of_user(user_pk)
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    return rows.delete()[0]


def active_users(users: Iterable[Any] | None) -> Iterator[list[Any]]:
    """The primary keys of users, or of all active ones, in batches."""
    rows = get_user_model()._default_manager.filter(is_active=True)
    if users is not None:
        rows = rows.filter(pk__in=[user.pk for user in users])
    last = None
    while True:
        batch = list(
            (rows if last is None else rows.filter(pk__gt=last)).order_by("pk").values_list("pk", flat=True)[:BATCH]
        )
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        last = batch[-1]


# -- Push ------------------------------------------------------------------------------------------------------------


def subscribe(user_pk: Any, endpoint: str, p256dh: str, auth: str, sign_in_id: str) -> PushSubscription:
    """Stores a browser; one that another user had on the same browser is theirs no more."""
    row, _ = PushSubscription.objects.update_or_create(
        digest=digest_of(endpoint),
        defaults={
            "user_id": user_pk,
            "endpoint": endpoint,
            "p256dh": p256dh,
            "auth": auth,
            "sign_in_id": sign_in_id,
        },
    )
    return row


def subscriptions(user_pk: Any) -> list[PushSubscription]:
    """The browsers of a user that may be pushed to."""
    return _held(PushSubscription.objects.filter(user_id=user_pk))


def subscribed(user_pks: Collection[Any]) -> set[Any]:
    """Those of the users who have a browser that may be pushed to."""
    return {row.user_id for row in _held(PushSubscription.objects.filter(user_id__in=list(user_pks)))}


def _held(rows: QuerySet[PushSubscription]) -> list[PushSubscription]:
    """Those whose user may sign in, and whose sign-in has not ended and was made with the password of today."""
    found = [row for row in rows.select_related("user") if getattr(row.user, "is_active", True)]
    sign_ins = accounts().open_sign_ins({row.sign_in_id for row in found if row.sign_in_id})

    def holds(row: PushSubscription) -> bool:
        sign_in = sign_ins.get(row.sign_in_id)
        return sign_in is not None and sign_in.user_id == row.user_id and matches(row.user, sign_in.fingerprint)

    return [row for row in found if not row.sign_in_id or holds(row)]


def forget_unnamed(user: Any) -> None:
    """Forgets a user's browsers that were signed in some other way than by a sign-in of ours."""
    PushSubscription.objects.filter(user=user, sign_in_id="").delete()


def ended(dry_run: bool) -> int:
    """For ``mana_prune``: forgets browsers whose sign-in has ended."""
    rows = PushSubscription.objects.order_by("pk")
    done, last = 0, 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        kept = {row.pk for row in _held(PushSubscription.objects.filter(pk__in=[row.pk for row in batch]))}
        gone = [row.pk for row in batch if row.pk not in kept]
        done += len(gone)
        if not dry_run:
            PushSubscription.objects.filter(pk__in=gone).delete()
    return done


def unsubscribe(user_pk: Any, endpoint: str) -> bool:
    """Forgets a browser; whether it was known."""
    return bool(PushSubscription.objects.filter(user_id=user_pk, digest=digest_of(endpoint)).delete()[0])
