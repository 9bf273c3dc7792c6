"""Devices, and how far in the order of events each has come."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from mana.accounts.models import Device, SignIn
from mana.stores import Store

#: How stale a device's ``last_seen_at`` may get before a connection writes it again.
LAST_SEEN_GRAIN = timedelta(minutes=10)


class DeviceStore(Store):
    """Devices of users. Replace it with ``MANA["DEVICE_STORE"]``."""

    def devices(self, user_pk: Any) -> QuerySet[Device]:
        """All devices of a user."""
        return Device.objects.filter(user_id=user_pk)

    def get(self, user_pk: Any, device_id: str) -> Device | None:
        """One device."""
        return Device.objects.filter(user_id=user_pk, device_id=device_id).first()

    def existing(self, pairs: Collection[tuple[Any, str]]) -> set[tuple[Any, str]]:
        """Those of the devices, named by user and device id, that exist."""
        rows = Device.objects.filter(user_id__in={pk for pk, _ in pairs}, device_id__in={name for _, name in pairs})
        return set(rows.values_list("user_id", "device_id"))

    def touch(self, user_pk: Any, device_id: str) -> None:
        """Notes that a device was seen, and remembers it if it is new."""
        now = timezone.now()
        row = Device.objects.filter(user_id=user_pk, device_id=device_id).values("last_seen_at").first()
        if row is None:
            Device.objects.get_or_create(user_id=user_pk, device_id=device_id, defaults={"last_seen_at": now})
        elif row["last_seen_at"] < now - LAST_SEEN_GRAIN:
            Device.objects.filter(user_id=user_pk, device_id=device_id).update(last_seen_at=now)

    def describe(self, user_pk: Any, device_id: str, *, name: str = "", platform: str = "") -> None:
        """Notes what a device says of itself; what its user called it stays."""
        own = Device.objects.filter(user_id=user_pk, device_id=device_id)
        row = own.values("name", "platform").first()
        if row is None:
            said = {"name": name, "platform": platform, "last_seen_at": timezone.now()}
            Device.objects.get_or_create(user_id=user_pk, device_id=device_id, defaults=said)
        elif (platform and row["platform"] != platform) or (name and not row["name"]):
            own.update(platform=platform or row["platform"], name=row["name"] or name)

    def rename(self, user_pk: Any, device_id: str, name: str) -> bool:
        """Changes the name that the user gave a device; whether there is such a device."""
        return bool(Device.objects.filter(user_id=user_pk, device_id=device_id).update(name=name))

    def remove(self, user_pk: Any, device_id: str) -> bool:
        """Forgets a device and its cursor; whether there was one."""
        return bool(Device.objects.filter(user_id=user_pk, device_id=device_id).delete()[0])

    def sign_ins(self, user_pk: Any, device_id: str) -> list[str]:
        """The sign-ins that belong to a device and have not ended."""
        rows = SignIn.objects.filter(user_id=user_pk, device_id=device_id, revoked_at=None)
        return [str(pk) for pk in rows.values_list("pk", flat=True)]

    def cursor(self, user_pk: Any, device_id: str) -> int:
        """How far a device has come; 0 for one that never said."""
        found = Device.objects.filter(user_id=user_pk, device_id=device_id).values_list("cursor", flat=True).first()
        return found or 0

    def move_cursor(self, user_pk: Any, device_id: str, cursor: int) -> None:
        """Stores how far a device has come. A cursor never moves back."""
        devices = Device.objects.filter(user_id=user_pk, device_id=device_id)
        now = timezone.now()
        moved = devices.filter(cursor__lt=cursor).update(cursor=cursor, last_seen_at=now)
        if not moved and not devices.exists():
            Device.objects.get_or_create(
                user_id=user_pk, device_id=device_id, defaults={"cursor": cursor, "last_seen_at": now}
            )
