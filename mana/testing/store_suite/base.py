"""What all suites share."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model

from mana.conf import Settings


class StoreSuite:
    """Names the setting of the store in ``setting``; subclasses of a project name their class in ``store_class``.

    A suite of another store inherits from this one and adds methods ``test_...`` that use ``store`` and ``person``.
    """

    setting: ClassVar[str] = ""
    store_class: ClassVar[type[Any]]

    @pytest.fixture
    def store(self) -> Any:
        """The store under test."""
        return self.store_class()

    def person(self, name: str = "") -> Any:
        """A stored user."""
        user_model = get_user_model()
        user = user_model(**{user_model.USERNAME_FIELD: name or f"person-{uuid4().hex[:12]}"})
        user.set_unusable_password()
        user.save()
        return user

    def test_it_does_all_that_the_default_store_does(self) -> None:
        """The same check that ``manage.py check`` makes."""
        setting = next(one for one in Settings.declared() if one.name == self.setting)
        path = f"{self.store_class.__module__}.{self.store_class.__qualname__}"
        default = setting.resolve(setting.default)  # type: ignore[no-untyped-call,unused-ignore]
        missing = [name for name in vars(default) if not name.startswith("_") and not hasattr(self.store_class, name)]
        assert not missing, f"{path} lacks {missing}"

    def test_each_method_has_an_async_twin(self) -> None:
        """``get`` and ``aget``."""
        setting = next(one for one in Settings.declared() if one.name == self.setting)
        for name, method in vars(setting.resolve(setting.default)).items():  # type: ignore[no-untyped-call,unused-ignore]
            if inspect.isfunction(method) and not name.startswith("_") and not inspect.iscoroutinefunction(method):
                assert inspect.iscoroutinefunction(getattr(self.store_class, f"a{name}")), name
