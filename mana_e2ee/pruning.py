"""What of keys and ciphertext is not to be kept."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.utils import timezone

from mana.conf import settings
from mana.messaging.timeline import database
from mana.pruning import Task, in_batches
from mana_e2ee import stores
from mana_e2ee.models import Claim, Device, Envelope, OneTimePreKey, SharedBody
from mana_e2ee.services import delivery

#: Ciphertext that nobody waits for is looked at once its message can't be on its way to the database any more.
SETTLED = timedelta(hours=1)


def _claims(dry_run: bool) -> int:
    before = timezone.now() - timedelta(seconds=settings.E2EE_CLAIM_LIFETIME)
    return in_batches(Claim.objects.using(database()).filter(created_at__lt=before), dry_run)


def _one_time(dry_run: bool) -> int:
    before = timezone.now() - timedelta(days=settings.E2EE_CLAIMED_DAYS)
    return in_batches(OneTimePreKey.objects.using(database()).filter(claimed_at__lt=before), dry_run)


def _orphans(dry_run: bool) -> int:
    before = timezone.now() - SETTLED
    lost = Envelope.objects.using(database()).filter(
        ~Exists(Device.objects.filter(pk=OuterRef("device_id"))), created_at__lt=before
    )
    bodies = stores.unneeded(SharedBody.objects.using(database()).filter(created_at__lt=before))
    return in_batches(lost, dry_run) + in_batches(bodies, dry_run)


TASKS = (
    Task("ciphertext that waited for too long", delivery.discard_expired),
    Task("ciphertext that no device waits for", _orphans),
    Task("answered claims of prekey bundles", _claims),
    Task("one-time prekeys that were handed out", _one_time),
)
