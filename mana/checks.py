"""System checks: settings, installed apps, databases, channel layer, and security for deployment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from mana.conf import Settings, settings, user_settings

REQUIRED_APPS = (
    "mana",
    "mana.realtime",
    "mana.accounts",
    "mana.preferences",
    "mana.contacts",
    "mana.messaging",
    "mana.notifications",
    "channels",
)
IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"


@register("mana")
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E001 unknown key, E002 wrong value, E003 ``MANA`` is no dict, E004 prefix that can't be a table name."""
    raw = getattr(django_settings, "MANA", {})
    if not isinstance(raw, Mapping):
        return [Error(f"MANA must be a dict, not {type(raw).__name__}.", id="mana.E003")]
    found: list[CheckMessage] = []
    declared = {setting.name: setting for setting in Settings.declared()}
    for name, value in raw.items():
        if name not in declared:
            close = difflib.get_close_matches(str(name), declared, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "docs/settings.md lists the keys."
            found.append(Error(f"MANA[{name!r}] is not a setting of django-mana.", hint=hint, id="mana.E001"))
        elif problem := declared[name].problem(value):
            found.append(
                Error(f"MANA[{name!r}] {problem}.", hint=declared[name].help_text.split(". ")[0], id="mana.E002")
            )
    prefix = raw.get("TABLE_PREFIX", "")
    if isinstance(prefix, str) and not re.fullmatch(r"[a-z0-9_]{0,8}", prefix):
        found.append(
            Error(
                f"MANA['TABLE_PREFIX'] {prefix!r} can't begin a table name.",
                hint="Use at most 8 characters of a-z, 0-9 and _.",
                id="mana.E004",
            )
        )
    return found


@register("mana")
def check_installed_apps(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E005: one of the apps that make the messenger is not installed."""
    missing = [name for name in REQUIRED_APPS if not apps.is_installed(name)]
    if not missing:
        return []
    return [
        Error(
            f"INSTALLED_APPS lacks {', '.join(repr(name) for name in missing)}.",
            hint=f"Add {', '.join(repr(name) for name in REQUIRED_APPS)}.",
            id="mana.E005",
        )
    ]


@register(Tags.database, "mana")
def check_databases(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W001 SQLite without WAL, W002 SQLite that may deadlock on upgrade, W003 connections kept under ASGI."""
    found: list[CheckMessage] = []
    for alias, database in django_settings.DATABASES.items():
        options = database.get("OPTIONS", {})
        if database.get("ENGINE", "").endswith("sqlite3"):
            if "wal" not in str(options.get("init_command", "")).lower():
                found.append(
                    checks.Warning(
                        f"Database {alias!r} (SQLite) is not in WAL mode: readers and the writer block each other.",
                        hint='OPTIONS = {"init_command": "PRAGMA journal_mode=WAL;", ...}',
                        id="mana.W001",
                    )
                )
            if options.get("transaction_mode") != "IMMEDIATE":
                found.append(
                    checks.Warning(
                        f"Database {alias!r} (SQLite) begins transactions as readers: two writers may fail with "
                        "'database is locked'.",
                        hint='OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, ...}',
                        id="mana.W002",
                    )
                )
        if database.get("CONN_MAX_AGE", 0) not in (0,):
            found.append(
                checks.Warning(
                    f"Database {alias!r} has CONN_MAX_AGE: under ASGI, requests run in changing threads and leave "
                    "connections behind.",
                    hint="Set it to 0 and use the driver's pool or pgbouncer; the sockets keep their own connections.",
                    id="mana.W003",
                )
            )
    return found


@register("mana")
def check_channel_layer(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E006 no such layer, W004 in-memory layer outside of DEBUG, W005 capacity that loses hints."""
    layers = getattr(django_settings, "CHANNEL_LAYERS", {})
    alias = settings.CHANNEL_LAYER if not check_settings() else "default"
    layer = layers.get(alias)
    if layer is None:
        return [
            Error(
                f"CHANNEL_LAYERS has no {alias!r}.",
                hint='For one process: {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}',
                id="mana.E006",
            )
        ]
    found: list[CheckMessage] = []
    if layer.get("BACKEND") == IN_MEMORY_LAYER and not django_settings.DEBUG:
        found.append(
            checks.Warning(
                "The in-memory channel layer connects nothing: a second process learns of messages only from the "
                "database, up to MANA['REPAIR_INTERVAL'] later.",
                hint="Use mana.layers.redis for more than one process; silence this check for exactly one.",
                id="mana.W004",
            )
        )
    elif layer.get("CONFIG", {}).get("capacity", _default_capacity(layer)) < 1000:
        found.append(
            checks.Warning(
                f"CHANNEL_LAYERS[{alias!r}] has a capacity below 1000: a burst drops hints, and the nodes read what is "
                "missing from the database.",
                hint='CONFIG = {"capacity": 1000, ...} or more',
                id="mana.W005",
            )
        )
    return found


def _default_capacity(layer: Mapping[str, Any]) -> int:
    # channels_redis' own; its pub/sub layer, as mana's and the one in memory, is fine without a word.
    return 100 if str(layer.get("BACKEND", "")).startswith("channels_redis.core.") else 1000


@register(Tags.security, "mana", deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W006 connections that need no proof, W007 tokens in URLs, W008 every origin, W009 short JWT key."""
    if check_settings():
        return []
    found: list[CheckMessage] = []
    if not settings.ENABLE_AUTH:
        found.append(
            checks.Warning("MANA['ENABLE_AUTH'] is False: anyone can be anyone.", hint="Remove it.", id="mana.W006")
        )
    if settings.ALLOW_QUERY_TOKEN:
        found.append(
            checks.Warning(
                "MANA['ALLOW_QUERY_TOKEN'] is True: tokens end in access logs.",
                hint="Use the subprotocol 'bearer.<jwt>' or POST /api/auth/ticket.",
                id="mana.W007",
            )
        )
    if "*" in settings.ALLOWED_ORIGINS:
        found.append(
            checks.Warning(
                "MANA['ALLOWED_ORIGINS'] allows every site to open sockets with your visitors' cookies.",
                hint="Name the origins.",
                id="mana.W008",
            )
        )
    jwt = getattr(django_settings, "SIMPLE_JWT", {})
    key = jwt.get("SIGNING_KEY", django_settings.SECRET_KEY)
    if str(jwt.get("ALGORITHM", "HS256")).startswith("HS") and len(str(key).encode()) < 32:
        found.append(
            checks.Warning(
                "The key that signs the JWTs is shorter than 32 bytes.",
                hint="Make a longer SECRET_KEY or SIMPLE_JWT['SIGNING_KEY'].",
                id="mana.W009",
            )
        )
    return found


@register(Tags.security, "mana", deploy=True)
def check_accounts(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W010 passwords that are cheap to guess, W011 attempts that each process counts for itself."""
    found: list[CheckMessage] = []
    hashers = getattr(django_settings, "PASSWORD_HASHERS", [])
    if hashers and not re.search(r"(Argon2|BCrypt|Scrypt|PBKDF2)", hashers[0].rsplit(".", 1)[-1]):
        found.append(
            checks.Warning(
                f"New passwords are hashed by {hashers[0].rsplit('.', 1)[-1]}, which is made to be fast.",
                hint="Put Argon2PasswordHasher or BCryptSHA256PasswordHasher first in PASSWORD_HASHERS.",
                id="mana.W010",
            )
        )
    cache = getattr(django_settings, "CACHES", {}).get("default", {}).get("BACKEND", "")
    if cache.endswith(("LocMemCache", "DummyCache")):
        found.append(
            checks.Warning(
                "The default cache is not shared: with several processes, each counts attempts to sign in for itself.",
                hint="Use django.core.cache.backends.redis.RedisCache, or silence this check for one process.",
                id="mana.W011",
            )
        )
    return found


@register("mana")
def check_push(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E007: Web Push without what it needs."""
    if check_settings():
        return []
    backends = user_settings().get("PUSH_BACKENDS", [])
    if "mana.notifications.webpush.WebPush" not in backends:
        return []
    missing = [name for name in ("WEB_PUSH_PRIVATE_KEY", "WEB_PUSH_CONTACT") if not getattr(settings, name)]
    if not missing:
        return []
    return [
        Error(
            f"Web Push needs MANA[{missing[0]!r}].",
            hint="docs/notifications.md says how to make a key.",
            id="mana.E007",
        )
    ]
