"""What others and one's own devices learn at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mana import signals
from mana.accounts.live import audience, send_signal, tell
from mana.accounts.stores import Person
from mana.protocol.server import DeviceListEvent, PrekeysLow
from mana_e2ee.models import DeviceList


def devices_changed(user: Person, epoch: int | None, removed: Sequence[str] = ()) -> None:
    """Tells the user's own devices, contacts, and those in common rooms, after the commit."""
    frame = DeviceListEvent(user_id=user.user_id, epoch=epoch, removed=list(removed))
    tell(audience(user.pk, user.user_id), frame)


def list_published(user: Person, epoch: int | None, removed: Sequence[str] = ()) -> None:
    """Tells them, and the project's code."""
    devices_changed(user, epoch, removed)
    send_signal(signals.device_list_changed, DeviceList, user_id=user.user_id, epoch=epoch)


def prekeys_low(user: Any, device_id: str, remaining: int) -> None:
    """Tells the user's devices that one of them should refill."""
    tell([user.user_id], PrekeysLow(device_id=device_id, remaining=remaining))
