"""System checks of calls. Their ids begin at 60: ``mana.E060``, ``mana.W060``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.utils.module_loading import import_string

from mana.checks import IN_MEMORY_LAYER, check_settings
from mana.conf import settings

#: RFC 7064 and RFC 7065: ``stun:host:port``, ``turn:host:port?transport=udp``, with IPv6 in brackets.
_STUN = re.compile(r"stuns?:(\[[0-9a-fA-F:.]+\]|[^\s:/?@]+)(:\d{1,5})?")
_TURN = re.compile(r"turns?:(\[[0-9a-fA-F:.]+\]|[^\s:/?@]+)(:\d{1,5})?(\?transport=(udp|tcp))?")
SECRET_LENGTH = 16


@register("mana")
def check_ice(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E060 address of no STUN or TURN server, E061 TURN without credentials, E062 relays only, and there are none."""
    if check_settings():
        return []
    found: list[CheckMessage] = []
    for name, form, example in (
        ("STUN_SERVERS", _STUN, "stun:stun.example.com:3478"),
        ("TURN_SERVERS", _TURN, "turn:turn.example.com:3478?transport=udp"),
    ):
        found += [
            Error(f"MANA[{name!r}]: {url!r} is no such address; browsers refuse it.", hint=example, id="mana.E060")
            for url in getattr(settings, name)
            if not form.fullmatch(url)
        ]
    if settings.TURN_SERVERS and not settings.TURN_SECRET and not (settings.TURN_USERNAME and settings.TURN_PASSWORD):
        found.append(
            Error(
                "MANA['TURN_SERVERS'] are told without credentials; browsers refuse that.",
                hint="Set MANA['TURN_SECRET'] (coturn: use-auth-secret), or TURN_USERNAME and TURN_PASSWORD.",
                id="mana.E061",
            )
        )
    if settings.ICE_TRANSPORT_POLICY == "relay" and not settings.TURN_SERVERS:
        found.append(
            Error(
                "MANA['ICE_TRANSPORT_POLICY'] is 'relay', and there is no TURN server: no call between peers connects.",
                hint="Set MANA['TURN_SERVERS'].",
                id="mana.E062",
            )
        )
    return found


@register("mana")
def check_media_server(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E063 no such media server, E064 workers that no channel layer reaches."""
    if check_settings():
        return []
    try:
        import_string(settings.RTC_BACKEND)
    except ImportError as error:
        return [Error(f"MANA['RTC_BACKEND']: {error}", hint="mana_rtc.backends.embedded", id="mana.E063")]
    layer = getattr(django_settings, "CHANNEL_LAYERS", {}).get(settings.CHANNEL_LAYER, {})
    if settings.RTC_BACKEND == "mana_rtc.backends.workers" and layer.get("BACKEND") == IN_MEMORY_LAYER:
        return [
            Error(
                "MANA['RTC_BACKEND'] leaves media to workers, and the in-memory channel layer reaches none.",
                hint="Use channels_redis or mana.layers.nats, or mana_rtc.backends.embedded.",
                id="mana.E064",
            )
        ]
    return []


@register(Tags.security, "mana", deploy=True)
def check_turn_secrets(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W060 TURN password that every user gets for good, W061 secret that can be guessed."""
    if check_settings() or not settings.TURN_SERVERS:
        return []
    if not settings.TURN_SECRET:
        return [
            checks.Warning(
                "Every user gets MANA['TURN_PASSWORD'], and may use the TURN server with it for as long as it holds.",
                hint="Use MANA['TURN_SECRET'] with coturn's use-auth-secret.",
                id="mana.W060",
            )
        ]
    if len(settings.TURN_SECRET) < SECRET_LENGTH:
        return [
            checks.Warning(
                f"MANA['TURN_SECRET'] has {len(settings.TURN_SECRET)} characters: who has credentials can find it.",
                hint="openssl rand -hex 32",
                id="mana.W061",
            )
        ]
    return []
