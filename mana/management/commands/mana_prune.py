"""``manage.py mana_prune``: removes what is not to be kept. For a nightly timer; it may run beside everything else."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from mana.pruning import tasks


class Command(BaseCommand):
    """Runs every task of ``mana.pruning``."""

    help = "Removes expired tickets, sign-ins and links, orphaned files, old events, deleted rooms, old audit entries."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--dry-run``."""
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs them, in batches."""
        dry_run: bool = options["dry_run"]
        for task in tasks():
            count = task.prune(dry_run)
            if count or options["verbosity"] > 1:
                self.stdout.write(f"{task.name}: {count}{' to remove' if dry_run else ' removed'}")
