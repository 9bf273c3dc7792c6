"""Settings from environment variables, with errors that name the variable."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_TRUE = frozenset(("1", "true", "yes", "on"))
_FALSE = frozenset(("0", "false", "no", "off"))
_ENGINES = {
    "postgres": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
    "mariadb": "django.db.backends.mysql",
}


def flag(name: str, default: bool) -> bool:
    """A variable that is true or false."""
    text = os.environ.get(name, "").strip().lower()
    if not text:
        return default
    if text not in _TRUE | _FALSE:
        raise ImproperlyConfigured(f"{name}={text!r} must be true or false.")
    return text in _TRUE


def names(name: str, default: list[str]) -> list[str]:
    """A variable that lists names, separated by commas."""
    text = os.environ.get(name)
    return default if text is None else [part.strip() for part in text.split(",") if part.strip()]


def database(url: str) -> dict[str, Any]:
    """A ``DATABASES`` entry for ``sqlite:///path``, ``postgres://`` or ``mysql://user:password@host:port/name``."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return sqlite(unquote(parts.path.removeprefix("/")) or ":memory:")
    engine = _ENGINES.get(parts.scheme)
    if engine is None:
        raise ImproperlyConfigured(f"DATABASE_URL: {parts.scheme!r} is not one of sqlite, {', '.join(_ENGINES)}.")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if engine.endswith("mysql"):
        options = {"charset": "utf8mb4", "init_command": "SET sql_mode='STRICT_TRANS_TABLES'", **options}
    return {
        "ENGINE": engine,
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }


def sqlite(path: str) -> dict[str, Any]:
    """A ``DATABASES`` entry for SQLite as a server wants it: readers beside the writer, and patience for the lock."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA busy_timeout=20000;",
        },
    }


def channel_layers(url: str) -> dict[str, Any]:
    """``CHANNEL_LAYERS`` for ``memory://``, ``redis://host:port/db``, ``nats://host:port``, or channels_redis' layers:
    ``redis+core://host:port/db`` and ``redis+pubsub://host:port/db``."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    if scheme in ("redis", "rediss"):
        return {"default": {"BACKEND": "mana.layers.redis.RedisChannelLayer", "CONFIG": {"url": url, "capacity": 5000}}}
    if scheme in ("redis+core", "rediss+core"):
        # redis-py 8 gives up a read after 5 s, and channels_redis waits that long for a message.
        host = {"address": url.replace("+core", "", 1), "max_connections": 50, "socket_timeout": 15}
        config = {"hosts": [host], "capacity": 5000, "expiry": 60}
        return {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}}
    if scheme in ("redis+pubsub", "rediss+pubsub"):
        # keepalive finds out that the connection for reading is dead; nothing is ever written to it.
        address = url.replace("+pubsub", "", 1)
        host = {"address": address, "max_connections": 50, "socket_keepalive": True, "health_check_interval": 15}
        return {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [host]}}}
    if scheme == "nats":
        return {"default": {"BACKEND": "mana.layers.nats.NatsChannelLayer", "CONFIG": {"servers": [url]}}}
    raise ImproperlyConfigured(
        f"CHANNEL_LAYER_URL: {scheme!r} is not one of memory, redis, nats, redis+core, redis+pubsub."
    )


def caches(url: str) -> dict[str, Any]:
    """``CACHES`` for ``memory://`` or ``redis://host:port/db``."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    if scheme in ("redis", "rediss"):
        # Whoever signs in waits for it: one that hangs is soon given up.
        options = {"socket_timeout": 1, "socket_connect_timeout": 1}
        backend = "django.core.cache.backends.redis.RedisCache"
        return {"default": {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": "mana", "OPTIONS": options}}
    raise ImproperlyConfigured(f"CACHE_URL: {scheme!r} is not one of memory, redis.")


def logging(form: str, level: str) -> dict[str, Any]:
    """``LOGGING``, as ``text`` (mana and its companions) or ``json`` (everybody, daphne's requests too).

    Neither has secrets in it.
    """
    formatters = {
        "text": {
            "()": "mana.observability.logging.ScrubbingFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        },
        "json": {"()": "mana.observability.logging.JSONFormatter"},
    }
    if form not in formatters:
        raise ImproperlyConfigured(f"LOG_FORMAT={form!r} must be text or json.")
    configured: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": formatters,
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": form}},
        "loggers": {
            name: {"handlers": ["console"], "level": level, "propagate": False}
            for name in ("mana", "mana_rtc", "mana_e2ee")
        },
    }
    if form == "json":
        configured["root"] = {"handlers": ["console"], "level": "WARNING"}
        for name in ("django", "daphne.access", "uvicorn", "uvicorn.access", "uvicorn.error"):
            configured["loggers"][name] = {"handlers": ["console"], "level": "INFO", "propagate": False}
    return configured


def mana(known: dict[str, Any]) -> dict[str, Any]:
    """The ``MANA`` dict from variables named ``MANA_<KEY>``; ``known`` gives each key's default, for its type."""
    found = {}
    for name, text in os.environ.items():
        key = name.removeprefix("MANA_")
        if key != name and key in known:
            found[key] = _converted(name, text, known[key])
    return found


def _converted(name: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return flag(name, default)
        if isinstance(default, list):
            return json.loads(text) if text.startswith("[") else [part for part in text.split(",") if part]
        return type(default)(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}={text!r} is no {type(default).__name__}: {error}") from None
