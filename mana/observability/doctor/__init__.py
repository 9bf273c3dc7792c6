"""What ``manage.py mana_doctor`` looks at: settings, database, channel layer, and one message all the way and back."""

from __future__ import annotations

from mana.observability.doctor.database import examine_database
from mana.observability.doctor.layer import examine_layer
from mana.observability.doctor.message import examine_message, remove_leftovers
from mana.observability.doctor.report import Report, Result
from mana.observability.doctor.settings import examine_settings

__all__ = [
    "Report",
    "Result",
    "examine_database",
    "examine_layer",
    "examine_message",
    "examine_settings",
    "remove_leftovers",
]
