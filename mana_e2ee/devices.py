"""A device that its user removes, or that is revoked, loses its keys with it."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_delete

from mana.accounts.models import Device
from mana.accounts.stores import person
from mana.signals import account_deleted
from mana_e2ee.services.directory import drop
from mana_e2ee.stores import backups, device_lists, devices


def forget_keys(sender: Any, instance: Device, **_: Any) -> None:
    """Part of the transaction that removes the device."""
    user = person(instance.user_id)
    if user is not None:  # else the account is being deleted, and everything with it
        drop(user, instance.device_id)


def forget_account(sender: Any, user_id: str, pk: Any, **_: Any) -> None:
    """An account that is only made anonymous keeps its row; what it published goes all the same."""
    devices(pk).delete()
    device_lists(pk).delete()
    backups(pk).delete()


account_deleted.connect(forget_account, dispatch_uid="mana_e2ee.forget_account")
post_delete.connect(forget_keys, sender=Device, dispatch_uid="mana_e2ee.forget_keys")
