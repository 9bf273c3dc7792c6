"""What of calls is not to be kept."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from mana.conf import settings
from mana.pruning import Task, in_batches
from mana_rtc import stores


def old_calls(dry_run: bool) -> int:
    """Calls that were over ``CALL_HISTORY_DAYS`` ago, with who was in them."""
    if not settings.CALL_HISTORY_DAYS:
        return 0
    return in_batches(stores.before(timezone.now() - timedelta(days=settings.CALL_HISTORY_DAYS)), dry_run)


TASKS = (Task("old calls", old_calls),)
