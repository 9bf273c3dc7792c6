"""What ``manage.py mana_doctor`` looks at: settings, database, channel layer, and one message all the way and back."""

from __future__ import annotations

from collections.abc import Callable

from mana.observability.doctor.database import examine_database
from mana.observability.doctor.layer import examine_layer
from mana.observability.doctor.message import examine_message, remove_leftovers
from mana.observability.doctor.report import Report, Result
from mana.observability.doctor.settings import examine_settings

#: (section, examination) of other apps.
contributions: list[tuple[str, Callable[[Report], None]]] = []


def contribute(section: str, examine: Callable[[Report], None]) -> None:
    """Has another app's examination made as well, in a section of its own, if the database can be read."""
    if (section, examine) not in contributions:
        contributions.append((section, examine))


__all__ = [
    "Report",
    "Result",
    "contribute",
    "contributions",
    "examine_database",
    "examine_layer",
    "examine_message",
    "examine_settings",
    "remove_leftovers",
]
