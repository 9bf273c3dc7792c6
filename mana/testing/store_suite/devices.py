"""What a store of devices must do."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from mana.testing.store_suite.base import StoreSuite


class DeviceStoreSuite(StoreSuite):
    """For ``MANA["DEVICE_STORE"]``."""

    setting = "DEVICE_STORE"

    def test_a_device_is_remembered_when_it_is_seen(self, store: Any) -> None:
        """``touch``, as often as one likes."""
        user = self.person()
        store.touch(user.pk, "phone")
        store.touch(user.pk, "phone")
        assert [device.device_id for device in store.devices(user.pk)] == ["phone"]
        assert store.get(self.person().pk, "phone") is None

    def test_a_cursor_never_moves_back(self, store: Any) -> None:
        """``move_cursor``, ``cursor``."""
        user = self.person()
        assert store.cursor(user.pk, "phone") == 0
        for given, expected in ((7, 7), (3, 7), (9, 9)):
            store.move_cursor(user.pk, "phone", given)
            assert store.cursor(user.pk, "phone") == expected

    def test_what_the_user_called_it_stays(self, store: Any) -> None:
        """``describe`` gives a name only to a device that has none."""
        user = self.person()
        store.describe(user.pk, "phone", name="Pixel", platform="Android")
        assert store.rename(user.pk, "phone", "Mine")
        store.describe(user.pk, "phone", name="Pixel 2", platform="iPhone")
        device = store.get(user.pk, "phone")
        assert (device.name, device.platform) == ("Mine", "iPhone")
        assert not store.rename(user.pk, "unknown", "x")

    def test_a_removed_device_is_gone_with_its_cursor(self, store: Any) -> None:
        """``remove``."""
        user = self.person()
        store.move_cursor(user.pk, "phone", 5)
        assert store.remove(user.pk, "phone")
        assert not store.remove(user.pk, "phone")
        assert store.cursor(user.pk, "phone") == 0

    def test_the_async_twins_do_the_same(self, store: Any) -> None:
        """One of them stands for all."""

        async def main() -> None:
            user = await sync_to_async(self.person)()
            await store.amove_cursor(user.pk, "phone", 5)
            assert await store.acursor(user.pk, "phone") == 5

        async_to_sync(main)()
