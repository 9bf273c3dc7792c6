"""The tests' settings, with an app that writes down which signals of calls this process sends."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.rtc.calls.journal"]  # noqa: F405
