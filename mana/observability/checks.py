"""System checks of what goes wrong in operation: layers that lose, pools that run dry, pages that are open.

Their ids begin at 20: ``mana.E020``, ``mana.W020``. docs/operations.md lists them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from mana.conf import Settings, settings
from mana.observability.access import WAYS
from mana.observability.tracing import is_installed

IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"
PUBSUB_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"
#: The oldest daphne without known holes: 4.2.2 fixes CVE-2026-44545 and CVE-2026-44546.
DAPHNE = (4, 2, 2)
#: Seconds that a message must be kept on the layer, so that a node that is busy for a moment still gets it.
EXPIRY = 10
#: Seconds that a membership of a group must be kept: twice the time after which the bus renews it.
GROUP_EXPIRY = 7200
#: Connections to Redis that a process uses at once: receiving, publishing, renewing, the health check.
REDIS_CONNECTIONS = 4
TOKEN_LENGTH = 16
#: Seconds that channels_redis waits for a message in one read (``brpop_timeout``).
REDIS_WAIT = 5


@register("mana")
def check_layer(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E020 in-memory layer with several workers, W020 to W023 layers that lose messages or run out of connections."""
    if _has_errors():
        return []
    layer = getattr(django_settings, "CHANNEL_LAYERS", {}).get(settings.CHANNEL_LAYER)
    if not isinstance(layer, Mapping):
        return []  # mana.E006
    return [*_several_workers(layer), *_expiry(layer), *_capacities(layer), *_redis(layer)]


def _several_workers(layer: Mapping[str, Any]) -> Iterator[CheckMessage]:
    # uvicorn, gunicorn and hypercorn start as many processes.
    workers = os.environ.get("WEB_CONCURRENCY", "")
    if layer.get("BACKEND") == IN_MEMORY_LAYER and not django_settings.DEBUG and workers.isdigit() and int(workers) > 1:
        yield Error(
            f"WEB_CONCURRENCY asks for {workers} workers, and the in-memory channel layer connects none of them.",
            hint="Use mana.layers.redis or mana.layers.nats, or one worker.",
            id="mana.E020",
        )


def _expiry(layer: Mapping[str, Any]) -> Iterator[CheckMessage]:
    config = layer.get("CONFIG", {})
    if config.get("expiry", 60) < EXPIRY:
        yield checks.Warning(
            f"CHANNEL_LAYERS[{settings.CHANNEL_LAYER!r}] lets messages expire after {config['expiry']} s: a node that "
            "is busy for a moment loses them, and typing and presence with them.",
            hint=f'CONFIG = {{"expiry": 60, ...}}, at least {EXPIRY}',
            id="mana.W020",
        )
    if config.get("group_expiry", 86400) < GROUP_EXPIRY:
        yield checks.Warning(
            f"CHANNEL_LAYERS[{settings.CHANNEL_LAYER!r}] forgets the members of groups after "
            f"{config['group_expiry']} s, sooner than the nodes renew themselves.",
            hint=f"Leave group_expiry out, or make it at least {GROUP_EXPIRY}.",
            id="mana.W021",
        )


def _capacities(layer: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for pattern, capacity in dict(layer.get("CONFIG", {}).get("channel_capacity") or {}).items():
        if capacity < 1000 and _matches(pattern, "specific.node!channel"):
            yield checks.Warning(
                f"channel_capacity gives the nodes' channels ({pattern!r}) a capacity of {capacity}: a burst drops "
                "hints.",
                hint='channel_capacity = {"specific*": 5000, ...}',
                id="mana.W022",
            )


def _matches(pattern: Any, name: str) -> bool:
    if isinstance(pattern, re.Pattern):
        return pattern.match(name) is not None
    return re.match(re.escape(str(pattern)).replace(r"\*", ".*") + "$", name) is not None


def _redis(layer: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if not str(layer.get("BACKEND", "")).startswith("channels_redis."):
        return
    hosts = layer.get("CONFIG", {}).get("hosts") or []
    for host in hosts if isinstance(hosts, list | tuple) else []:
        connections = host.get("max_connections", 100) if isinstance(host, Mapping) else 100
        if connections < REDIS_CONNECTIONS:
            yield checks.Warning(
                f"A Redis host of CHANNEL_LAYERS[{settings.CHANNEL_LAYER!r}] may have {connections} connections; a "
                f"node needs {REDIS_CONNECTIONS} at once and fails with MaxConnectionsError.",
                hint='hosts = [{"address": "redis://...", "max_connections": 20}]',
                id="mana.W023",
            )
        if layer["BACKEND"] != PUBSUB_LAYER and _reads_time_out(host):
            yield checks.Warning(
                f"redis-py gives up a read after {REDIS_WAIT} s, as long as channels_redis waits for a message: "
                "an idle node loses the layer every few seconds.",
                hint='hosts = [{"address": "redis://...", "socket_timeout": 15}]',
                id="mana.W032",
            )
        if (
            layer["BACKEND"] == PUBSUB_LAYER
            and isinstance(host, Mapping)
            and {"on_reconnect", "on_disconnect"} & host.keys()
        ):
            yield checks.Warning(
                "channels_redis' pub/sub layer never calls on_reconnect and on_disconnect.",
                hint="Remove them; mana reads from the database what a lost connection has missed.",
                id="mana.W024",
            )


def _reads_time_out(host: Any) -> bool:
    """Whether a read ends before channels_redis has had its time to wait: the default since redis-py 8."""
    try:
        default = REDIS_WAIT if int(metadata.version("redis").split(".")[0]) >= 8 else None
    except (metadata.PackageNotFoundError, ValueError):
        return False
    address, options = (host.get("address", ""), host) if isinstance(host, Mapping) else (host, {})
    if "socket_timeout=" in str(address):
        return False
    timeout = options.get("socket_timeout", default)
    return timeout is not None and timeout <= REDIS_WAIT


@register(Tags.database, "mana")
def check_databases(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W025 a pool too small, W026 ATOMIC_REQUESTS, W027 an isolation level that aborts writers."""
    if _has_errors():
        return []
    return [
        message
        for alias, database in django_settings.DATABASES.items()
        for message in (*_pool(alias, database), *_atomic_requests(alias, database), *_isolation(alias, database))
    ]


def _pool(alias: str, database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    pool = database.get("OPTIONS", {}).get("pool")
    needed = settings.DATABASE_THREADS + 3  # the writer, the health check, a request
    if isinstance(pool, Mapping) and pool.get("max_size", 4) < needed:
        yield checks.Warning(
            f"The connection pool of database {alias!r} holds {pool.get('max_size', 4)}; a node needs {needed}: "
            "DATABASE_THREADS, the writer, the health check, and a request.",
            hint=f'OPTIONS = {{"pool": {{"max_size": {needed + 5}}}}}',
            id="mana.W025",
        )


def _atomic_requests(alias: str, database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if database.get("ATOMIC_REQUESTS"):
        yield checks.Warning(
            f"Database {alias!r} has ATOMIC_REQUESTS: what REST requests and views send is stored in two transactions, "
            "and the response can't tell its place in the order.",
            hint="Use transaction.atomic() where you need it.",
            id="mana.W026",
        )


def _isolation(alias: str, database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    level = str(database.get("OPTIONS", {}).get("isolation_level") or "read committed").lower()
    # psycopg's levels are numbers: 1 read uncommitted, 2 read committed, 3 repeatable read, 4 serializable.
    if level not in ("read committed", "2", "isolationlevel.read_committed"):
        yield checks.Warning(
            f"Database {alias!r} runs with the isolation level {level!r}: writers on several nodes abort each other, "
            "or see a past in which the order of events stood elsewhere.",
            hint="Leave isolation_level out: Django's default is read committed.",
            id="mana.W027",
        )


@register("mana")
def check_versions(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E021: a daphne with known holes."""
    if not apps.is_installed("daphne"):
        return []
    version = metadata.version("daphne")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers >= DAPHNE:
        return []
    return [
        Error(
            f"daphne {version} has known security holes (CVE-2026-44545, CVE-2026-44546).",
            hint="pip install 'daphne>=4.2.2'",
            id="mana.E021",
        )
    ]


@register("mana")
def check_observability(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E022 tracing without OpenTelemetry, E023 a value that can't be, W028 origins that match nothing."""
    if _has_errors():
        return []
    found: list[CheckMessage] = []
    if settings.ENABLE_TRACING and not is_installed():
        found.append(
            Error(
                "MANA['ENABLE_TRACING'] is True, but OpenTelemetry is not installed.",
                hint="pip install 'django-mana[otel]'",
                id="mana.E022",
            )
        )
    found += [Error(text, hint=hint, id="mana.E023") for text, hint in _impossible()]
    for origin in settings.ALLOWED_ORIGINS:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin, re.I):
            found.append(
                checks.Warning(
                    f"MANA['ALLOWED_ORIGINS'] has {origin!r}, which no Origin is equal to.",
                    hint="Write scheme and host, and no path: https://example.com",
                    id="mana.W028",
                )
            )
    return found


def _impossible() -> Iterator[tuple[str, str]]:
    for name in ("HEALTH_ACCESS", "METRICS_ACCESS"):
        for way in getattr(settings, name):
            if way not in WAYS:
                yield f"MANA[{name!r}] has {way!r}.", f"The ways in are {', '.join(WAYS)}."
    for network in settings.OPERATIONS_ADDRESSES:
        try:
            ip_network(network, strict=False)
        except ValueError as error:
            yield f"MANA['OPERATIONS_ADDRESSES'] has {network!r}: {error}.", 'Write networks: ["10.0.0.0/8"]'
    if settings.TRACE_SAMPLE_RATIO > 1:
        yield f"MANA['TRACE_SAMPLE_RATIO'] is {settings.TRACE_SAMPLE_RATIO}.", "It is a share, from 0 to 1."
    if settings.TRACE_EXPORT and urlsplit(settings.TRACE_EXPORT).scheme not in ("http", "https"):
        yield f"MANA['TRACE_EXPORT'] is {settings.TRACE_EXPORT!r}.", "http://127.0.0.1:4318/v1/traces"


@register(Tags.security, "mana", deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W029 pages open to everybody, W030 a token to guess, W031 traces in the clear."""
    if _has_errors():
        return []
    found: list[CheckMessage] = []
    for name in ("HEALTH_ACCESS", "METRICS_ACCESS"):
        if "open" in getattr(settings, name):
            found.append(
                checks.Warning(
                    f"MANA[{name!r}] is open: everybody may read how many people use the site, and how it is built.",
                    hint='["addresses", "token", "staff"], or silence this where a proxy keeps the page shut.',
                    id="mana.W029",
                )
            )
    if 0 < len(settings.OPERATIONS_TOKEN) < TOKEN_LENGTH:
        found.append(
            checks.Warning(
                f"MANA['OPERATIONS_TOKEN'] has fewer than {TOKEN_LENGTH} characters.",
                hint="python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                id="mana.W030",
            )
        )
    if urlsplit(settings.TRACE_EXPORT).scheme == "http" and not _is_here(
        urlsplit(settings.TRACE_EXPORT).hostname or ""
    ):
        found.append(
            checks.Warning(
                "MANA['TRACE_EXPORT'] sends traces to another machine without TLS.",
                hint="Use https, or a collector on this machine.",
                id="mana.W031",
            )
        )
    return found


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _has_errors() -> bool:
    """Whether ``MANA`` is not what it should be; ``mana.checks`` says how."""
    raw = getattr(django_settings, "MANA", {})
    if not isinstance(raw, Mapping):
        return True
    return any(setting.name in raw and setting.problem(raw[setting.name]) for setting in Settings.declared())
