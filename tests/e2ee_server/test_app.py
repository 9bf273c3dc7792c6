"""The app in a project: with it and without it, its checks, its figures, its pages in the admin."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from mana_e2ee import checks, stores
from mana_e2ee.counters import counters
from mana_e2ee.metrics import FIGURES, collect
from tests.e2ee_server.test_claims import with_devices
from tests.support.databases import ROOT

WITHOUT = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from tests import settings
settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "mana_e2ee"]
import django
django.setup()
from django.core.management import call_command
from mana.protocol import decode
from mana.realtime import dispatch
import mana.urls
call_command("check", fail_level="ERROR", verbosity=0)
from mana.pruning import tasks
assert not [name for name in sys.modules if name.startswith("mana_e2ee")]
assert "encrypted_fanout" not in dispatch.features()
assert "message" in dispatch.features()
assert not [one for one in mana.urls.api if "e2ee" in str(one.pattern)]
assert not [task for task in tasks() if "ciphertext" in task.name]
print("as before")
"""


def test_without_the_app_nothing_of_it_is_loaded_and_its_frames_are_not_supported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "as before", done.stderr


def test_a_missing_or_old_cryptography_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_cryptography() == []
    monkeypatch.setattr("cryptography.__version__", "49.0.1")
    (error,) = checks.check_cryptography()
    assert (error.id, "49.0.1" in error.msg) == ("mana.E070", True)


def test_limits_of_prekeys_that_do_not_fit_each_other_are_warned_of(settings: Any) -> None:
    assert checks.check_numbers() == []
    settings.MANA = {**settings.MANA, "E2EE_PREKEYS_LOW": 500}
    (warning,) = checks.check_numbers()
    assert warning.id == "mana.W070"


def test_every_figure_is_counted_and_none_says_for_whom() -> None:
    assert set(FIGURES) == set(vars(counters))
    assert [sample.labels for metric in collect() for sample in metric.samples] == [{}] * len(FIGURES)


@pytest.fixture
def admin(db: None) -> Client:
    """A browser of somebody who may do everything in the admin."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.mark.database
def test_the_admin_shows_public_parts_and_changes_nothing(admin: Client) -> None:
    target = with_devices("phone")
    row = stores.device(target.pk, "phone")
    assert row is not None
    page = admin.get(f"/admin/mana_e2ee/device/{row.pk}/change/")
    assert page.status_code == 200
    assert "One-time prekeys left" in page.text
    assert "_save" not in page.text
    assert admin.get("/admin/mana_e2ee/device/?q=phone").status_code == 200
    assert admin.get("/admin/mana_e2ee/devicelist/").status_code == 200
    assert admin.get("/admin/mana_e2ee/device/add/").status_code == 403
    assert admin.post(f"/admin/mana_e2ee/device/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.get("/admin/mana_e2ee/envelope/").status_code == 404


@pytest.mark.database
def test_an_admin_removes_the_keys_of_a_device(admin: Client) -> None:
    target = with_devices("phone", "laptop")
    row = stores.device(target.pk, "phone")
    assert row is not None
    chosen = {"action": "remove_keys", "_selected_action": [row.pk]}
    page = admin.post("/admin/mana_e2ee/device/", chosen, follow=True)
    assert "1 devices were removed" in page.text
    assert [one.device_id for one in stores.devices(target.pk)] == ["laptop"]
