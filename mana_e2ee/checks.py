"""System checks: the cryptography is there, and the numbers fit the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.checks import CheckMessage, Error, register

from mana.conf import settings

#: The first release of cryptography with ML-KEM-768.
CRYPTOGRAPHY = 50


def missing() -> str | None:
    """What the core needs and is not there, or ``None``."""
    try:
        from cryptography import __version__
    except ImportError:
        return "cryptography is not installed"
    if int(__version__.partition(".")[0]) < CRYPTOGRAPHY:
        return f"cryptography {__version__} is too old"
    return None


@register("mana")
def check_cryptography(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E070: mana_e2ee is installed, but not what it computes with."""
    problem = missing()
    if problem is None:
        return []
    return [
        Error(
            f'"mana_e2ee" is in INSTALLED_APPS, but {problem}.',
            hint=f"pip install 'cryptography>={CRYPTOGRAPHY}', or take mana_e2ee out.",
            id="mana.E070",
        )
    ]


@register("mana")
def check_numbers(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W070: devices are told to refill when nothing, or everything, is left."""
    low, most, reserve = settings.E2EE_PREKEYS_LOW, settings.E2EE_ONE_TIME_MAX, settings.E2EE_PREKEY_RESERVE
    if all(type(number) is int for number in (low, most, reserve)) and not reserve <= low < most:
        return [
            checks.Warning(
                "MANA['E2EE_PREKEYS_LOW'] is not between E2EE_PREKEY_RESERVE and E2EE_ONE_TIME_MAX.",
                hint="Devices would refill too late for strangers, or could not refill at all.",
                id="mana.W070",
            )
        ]
    return []
