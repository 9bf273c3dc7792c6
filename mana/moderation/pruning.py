"""What of moderation is not to be kept."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from mana.conf import settings
from mana.moderation.models import AuditEntry, Report
from mana.pruning import Task, in_batches


def audit_entries(dry_run: bool) -> int:
    """Entries of the audit log, after ``AUDIT_DAYS``."""
    if not settings.AUDIT_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.AUDIT_DAYS)
    return in_batches(AuditEntry.objects.filter(at__lt=before), dry_run)


def handled_reports(dry_run: bool) -> int:
    """Reports that were handled, with what they keep of their subjects, after ``REPORT_DAYS``."""
    if not settings.REPORT_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.REPORT_DAYS)
    return in_batches(Report.objects.exclude(status=Report.Status.OPEN).filter(handled_at__lt=before), dry_run)


TASKS = (Task("old audit entries", audit_entries), Task("old reports", handled_reports))
