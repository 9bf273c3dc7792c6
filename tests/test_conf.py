"""The ``MANA`` setting: defaults, overrides, mistakes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import override_settings

from mana.checks import check_databases
from mana.conf import Settings, settings
from mana.management.commands.mana_settings import page

ROOT = Path(__file__).resolve().parent.parent


def _ids(**overrides: Any) -> set[str]:
    with override_settings(**overrides):
        return {str(message.id) for message in run_checks(include_deployment_checks=True) if "mana" in str(message.id)}


def _messages(mana: Any) -> list[str]:
    with override_settings(MANA=mana):
        return [message.msg for message in run_checks() if str(message.id).startswith("mana.E")]


def test_a_key_that_is_not_set_has_its_default() -> None:
    with override_settings(MANA={}):
        assert settings.MAX_MESSAGE_SIZE == 65536
        assert settings.ENABLE_AUTH is True


def test_a_change_is_seen_at_once() -> None:
    assert settings.TICKET_LIFETIME == 30
    with override_settings(MANA={"TICKET_LIFETIME": 5}):
        assert settings.TICKET_LIFETIME == 5
    assert settings.TICKET_LIFETIME == 30


def test_the_defaults_are_valid() -> None:
    for setting in Settings.declared():
        assert setting.problem(setting.default) is None, setting.name
        assert setting.help_text.endswith(".")


@pytest.mark.parametrize(
    ("mana", "words"),
    [
        ({"MAX_MESSAGE_SIZES": 1}, "MAX_MESSAGE_SIZES"),
        ({"MAX_MESSAGE_SIZE": "big"}, "must be of type int, not str"),
        ({"MAX_MESSAGE_SIZE": True}, "must be of type int, not bool"),
        ({"MAX_MESSAGE_SIZE": 10}, "must be at least 1024"),
        ({"RATE_LIMIT_PER_SECOND": float("nan")}, "must be at least"),
        ({"ALLOWED_ORIGINS": "https://example.com"}, "must be a list of strings"),
        ({"MESSAGING_POLICY": "no.such.Thing"}, "can't be imported"),
        ({"EMAIL": "always"}, "must be one of"),
        ({"TABLE_PREFIX": "Mana-"}, "can't begin a table name"),
        ({"TABLE_PREFIX": "much_too_long_"}, "can't begin a table name"),
        (["ENABLE_AUTH"], "must be a dict"),
    ],
)
def test_a_mistake_is_an_error_that_names_the_key(mana: Any, words: str) -> None:
    (message,) = _messages(mana)
    assert words in message
    if isinstance(mana, dict):
        assert next(iter(mana)) in message


def test_an_unknown_key_is_met_with_a_proposal() -> None:
    with override_settings(MANA={"ALLOWED_ORIGIN": []}):
        (error,) = [message for message in run_checks() if message.id == "mana.E001"]
    assert error.hint == "Did you mean 'ALLOWED_ORIGINS'?"


def test_an_int_is_good_where_a_float_is_meant() -> None:
    assert _messages({"RATE_LIMIT_PER_SECOND": 5, "AUTH_TIMEOUT": 3}) == []


def test_what_is_missing_or_dangerous_is_said() -> None:
    memory = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    redis = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"capacity": 100}}}
    assert "mana.E006" in _ids(CHANNEL_LAYERS={})
    assert "mana.W004" in _ids(CHANNEL_LAYERS=memory, DEBUG=False)
    assert "mana.W004" not in _ids(CHANNEL_LAYERS=memory, DEBUG=True)
    assert "mana.W005" in _ids(CHANNEL_LAYERS=redis)
    dangerous = {"ENABLE_AUTH": False, "ALLOW_QUERY_TOKEN": True, "ALLOWED_ORIGINS": ["*"]}
    assert {"mana.W006", "mana.W007", "mana.W008"} <= _ids(MANA=dangerous)
    assert "mana.W009" in _ids(SECRET_KEY="short")


def test_weak_hashers_and_counts_that_are_not_shared_are_said() -> None:
    fast, slow = ([f"django.contrib.auth.hashers.{name}PasswordHasher"] for name in ("MD5", "Argon2"))
    assert "mana.W010" in _ids(PASSWORD_HASHERS=fast)
    assert "mana.W010" not in _ids(PASSWORD_HASHERS=slow)
    caches = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert "mana.W011" in _ids(CACHES=caches)
    shared = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://x"}}
    assert "mana.W011" not in _ids(CACHES=shared)


def test_web_push_without_a_key_is_an_error() -> None:
    backends = ["mana.notifications.webpush.WebPush"]
    assert "mana.E007" in _ids(MANA={"PUSH_BACKENDS": backends})
    whole = {"PUSH_BACKENDS": backends, "WEB_PUSH_PRIVATE_KEY": "x", "WEB_PUSH_CONTACT": "mailto:a@example.com"}
    assert "mana.E007" not in _ids(MANA=whole)


@pytest.mark.parametrize("rate", ["ten/minute", "0/minute", "10/fortnight", "10", 10])
def test_a_rate_that_is_none_is_an_error(rate: Any) -> None:
    (message,) = _messages({"SIGN_IN_RATE": rate})
    assert "SIGN_IN_RATE" in message
    assert _messages({"SIGN_IN_RATE": ""}) == []


def test_a_plain_sqlite_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "x"},
        "other": {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 60},
    }
    monkeypatch.setattr("mana.checks.django_settings", SimpleNamespace(DATABASES=databases))
    assert {str(message.id) for message in check_databases()} == {"mana.W001", "mana.W002", "mana.W003"}


def test_the_page_of_settings_is_current_and_complete(tmp_path: Path) -> None:
    call_command("mana_settings", output=str(tmp_path / "settings.md"))
    written = (tmp_path / "settings.md").read_text()
    assert written == page() == (ROOT / "docs/settings.md").read_text()
    for setting in Settings.declared():
        assert f"### `{setting.name}`" in written


def test_installable_apps_are_there() -> None:
    from django.apps import apps

    assert apps.is_installed("mana_rtc")
    assert apps.is_installed("mana_e2ee")
