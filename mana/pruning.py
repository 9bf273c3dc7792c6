"""What ``manage.py mana_prune`` does: every installed app may have a module ``pruning`` with its ``TASKS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import import_module
from typing import NamedTuple

from django.apps import apps
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.module_loading import module_has_submodule

#: Rows that one transaction removes.
BATCH = 500
#: How long a node without a sign of life is kept, whatever others have done about it.
DEAD_FOR = timedelta(days=1)


class Task(NamedTuple):
    """Something to remove. ``prune(dry_run)`` gives how many rows it removed, or would."""

    name: str
    prune: Callable[[bool], int]


def tasks() -> Iterator[Task]:
    """Those of mana itself, then those of the installed apps in their order."""
    yield from TASKS
    for app in apps.get_app_configs():
        if app.name != "mana" and app.module is not None and module_has_submodule(app.module, "pruning"):
            yield from getattr(import_module(f"{app.name}.pruning"), "TASKS", ())


def in_batches(rows: QuerySet, dry_run: bool) -> int:  # type: ignore[type-arg]  # of whatever model
    """Removes rows some at a time, so that nobody waits long for a lock; how many."""
    if dry_run:
        return rows.count()
    done = 0
    while pks := list(rows.values_list("pk", flat=True)[:BATCH]):
        rows.model._default_manager.filter(pk__in=pks).delete()
        done += len(pks)
    return done


def _tickets(dry_run: bool) -> int:
    from mana.accounts.models import Ticket

    return in_batches(Ticket.objects.filter(expires_at__lt=timezone.now()), dry_run)


def _sign_ins(dry_run: bool) -> int:
    from mana.accounts.models import SignIn

    # A sign-in that was revoked must be known for as long as its tokens would be valid.
    return in_batches(SignIn.objects.filter(expires_at__lt=timezone.now()), dry_run)


def _nodes(dry_run: bool) -> int:
    from mana.realtime.models import Node

    return in_batches(Node.objects.filter(seen_at__lt=timezone.now() - DEAD_FOR), dry_run)


def _revocations(dry_run: bool) -> int:
    from mana.realtime.models import Revocation

    # Nodes that run remove them within minutes.
    return in_batches(Revocation.objects.filter(created_at__lt=timezone.now() - DEAD_FOR), dry_run)


TASKS = (
    Task("expired tickets", _tickets),
    Task("expired sign-ins", _sign_ins),
    Task("dead nodes and their sessions", _nodes),
    Task("old revocations", _revocations),
)
