"""The tests' settings of a project without calls."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [name for name in INSTALLED_APPS if name not in ("mana_rtc", "demo_project")]  # noqa: F405
ROOT_URLCONF = "mana.urls"
