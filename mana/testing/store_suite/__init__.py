"""What every replacement of a store must do, as pytest classes to inherit from::

    from mana.testing.store_suite import PreferenceStoreSuite


    @pytest.mark.django_db(transaction=True)
    class TestMyPreferenceStore(PreferenceStoreSuite):
        store_class = MyPreferenceStore

Each suite asks the store through its public methods only, sync and async, with users of the project's own model.
"""

import pytest

for _module in ("base", "accounts", "contacts", "devices", "preferences", "profiles"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from mana.testing.store_suite.accounts import AccountStoreSuite  # noqa: E402
from mana.testing.store_suite.base import StoreSuite  # noqa: E402
from mana.testing.store_suite.contacts import ContactStoreSuite  # noqa: E402
from mana.testing.store_suite.devices import DeviceStoreSuite  # noqa: E402
from mana.testing.store_suite.preferences import PreferenceStoreSuite  # noqa: E402
from mana.testing.store_suite.profiles import ProfileStoreSuite  # noqa: E402

__all__ = [
    "AccountStoreSuite",
    "ContactStoreSuite",
    "DeviceStoreSuite",
    "PreferenceStoreSuite",
    "ProfileStoreSuite",
    "StoreSuite",
]
