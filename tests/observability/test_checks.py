"""The system checks of what goes wrong in operation."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

from mana.observability import checks

CORE = "channels_redis.core.RedisChannelLayer"
HOST = {"address": "redis://127.0.0.1", "socket_timeout": 15}


def ids(**overrides: Any) -> set[str]:
    """What the checks of operation complain about, and those of the layer's capacity."""
    with override_settings(**overrides):
        found = run_checks(include_deployment_checks=True)
    ours = [
        message for message in found if message.id == "mana.W005" or re.match(r"mana\.[EW]0[23]\d", str(message.id))
    ]
    assert all(message.hint for message in ours)
    return {str(message.id) for message in ours}


def layer(backend: str = CORE, **config: Any) -> dict[str, Any]:
    """``CHANNEL_LAYERS`` with one layer."""
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [HOST], "capacity": 5000, **config}}}


def test_a_good_layer_is_fine() -> None:
    assert ids(CHANNEL_LAYERS=layer()) == set()
    assert ids(CHANNEL_LAYERS=layer(channel_capacity={"http.*": 10, "specific*": 2000}, group_expiry=90000)) == set()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"expiry": 5}, "mana.W020"),
        ({"group_expiry": 600}, "mana.W021"),
        ({"channel_capacity": {"specific*": 10}}, "mana.W022"),
        ({"hosts": [{**HOST, "max_connections": 2}]}, "mana.W023"),
        ({"hosts": ["redis://127.0.0.1"]}, "mana.W032"),
        ({"hosts": [("127.0.0.1", 6379)]}, "mana.W032"),
    ],
)
def test_a_layer_that_loses_messages_is_warned_of(config: dict[str, Any], expected: str) -> None:
    assert ids(CHANNEL_LAYERS=layer(**config)) == {expected}


def test_a_capacity_that_is_not_given_is_a_small_one() -> None:
    silent = {"default": {"BACKEND": CORE, "CONFIG": {"hosts": [HOST]}}}
    assert ids(CHANNEL_LAYERS=silent) == {"mana.W005"}
    for unbounded in (checks.PUBSUB_LAYER, "mana.layers.nats.NatsChannelLayer"):
        assert ids(CHANNEL_LAYERS={"default": {"BACKEND": unbounded}}) == set()


def test_hooks_that_are_never_called_are_warned_of() -> None:
    hosts = [{**HOST, "on_reconnect": print}]
    pubsub = layer(checks.PUBSUB_LAYER, hosts=hosts)
    assert "mana.W024" in ids(CHANNEL_LAYERS=pubsub)


def test_several_workers_need_a_layer_that_connects_them(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {"default": {"BACKEND": checks.IN_MEMORY_LAYER}}
    assert "mana.E020" not in ids(CHANNEL_LAYERS=memory)
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert "mana.E020" in ids(CHANNEL_LAYERS=memory)
    assert "mana.E020" not in ids(CHANNEL_LAYERS=memory, DEBUG=True)
    assert "mana.E020" not in ids(CHANNEL_LAYERS=layer())


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ({"OPTIONS": {"pool": {"max_size": 4}}}, ["mana.W025"]),
        ({"OPTIONS": {"pool": {"max_size": 20}}}, []),
        ({"ATOMIC_REQUESTS": True}, ["mana.W026"]),
        ({"OPTIONS": {"isolation_level": "repeatable read"}}, ["mana.W027"]),
        ({"OPTIONS": {"isolation_level": "READ COMMITTED"}}, []),
        ({}, []),
    ],
)
def test_a_database_that_makes_trouble_is_warned_of(
    database: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(DATABASES={"default": database}, MANA={})
    monkeypatch.setattr("mana.observability.checks.django_settings", settings)
    assert named(checks.check_databases()) == expected


def test_an_old_daphne_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_versions() == []
    monkeypatch.setattr("mana.observability.checks.metadata.version", lambda name: "4.2.1")
    assert named(checks.check_versions()) == ["mana.E021"]


def test_tracing_without_opentelemetry_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mana.observability.checks.is_installed", lambda: False)
    assert ids(MANA={}, CHANNEL_LAYERS=layer()) == set()
    assert ids(MANA={"ENABLE_TRACING": True}, CHANNEL_LAYERS=layer()) == {"mana.E022"}


@pytest.mark.parametrize(
    ("mana", "expected"),
    [
        ({"HEALTH_ACCESS": ["everybody"]}, "mana.E023"),
        ({"OPERATIONS_ADDRESSES": ["10.0.0.0/33"]}, "mana.E023"),
        ({"TRACE_SAMPLE_RATIO": 1.5}, "mana.E023"),
        ({"TRACE_EXPORT": "collector:4317"}, "mana.E023"),
        ({"ALLOWED_ORIGINS": ["example.com"]}, "mana.W028"),
        ({"ALLOWED_ORIGINS": ["https://example.com/"]}, "mana.W028"),
        ({"METRICS_ACCESS": ["open"]}, "mana.W029"),
        ({"OPERATIONS_TOKEN": "short"}, "mana.W030"),
        ({"TRACE_EXPORT": "http://collector.example:4318/v1/traces"}, "mana.W031"),
    ],
)
def test_a_value_that_can_not_be_meant_is_said(mana: dict[str, Any], expected: str) -> None:
    assert ids(MANA=mana, CHANNEL_LAYERS=layer()) == {expected}


def test_what_is_meant_is_fine() -> None:
    meant = {
        "HEALTH_ACCESS": [],
        "OPERATIONS_ADDRESSES": ["10.1.2.3", "fd00::/8"],
        "OPERATIONS_TOKEN": "x" * 20,
        "TRACE_EXPORT": "http://127.0.0.1:4318/v1/traces",
        "ALLOWED_ORIGINS": ["https://*.example.com", "app://desktop"],
    }
    assert ids(MANA=meant, CHANNEL_LAYERS=layer()) == set()


def named(messages: list[CheckMessage]) -> list[str]:
    """Their ids."""
    return [str(message.id) for message in messages]
