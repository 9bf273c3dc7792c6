"""``manage.py mana_clear_expired``: removes used-up tickets and sign-ins that ended long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from mana.accounts import stores


class Command(BaseCommand):
    """Run it daily."""

    help = "Removes expired tickets, and sign-ins that ended or ran out a while ago."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--days N``."""
        parser.add_argument(
            "--days", type=int, default=30, help="how long ended sign-ins are kept to look at (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Removes them."""
        before = timezone.now() - timedelta(days=options["days"])
        tickets, sign_ins = stores.accounts().clear_expired(sign_ins_before=before)
        self.stdout.write(f"{tickets} tickets and {sign_ins} sign-ins were removed.")
