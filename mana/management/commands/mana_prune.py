"""``manage.py mana_prune``: removes what is not to be kept. For a nightly timer; it may run beside everything else."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from mana.pruning import Task, tasks

logger = logging.getLogger("mana.pruning")


class Command(BaseCommand):
    """Runs every task of ``mana.pruning``. One that fails keeps no other from being done. Exit code 1 if one did."""

    help = (
        "Removes expired tickets, sign-ins and links, orphaned files, old events, deleted rooms, old audit entries. "
        "Exit code 1 if something could not be removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """``--dry-run``."""
        parser.add_argument("--dry-run", action="store_true", help="count only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs them, in batches."""
        dry_run: bool = options["dry_run"]
        done = "to remove" if dry_run else "removed"
        listed = list(tasks())
        width = max(len(task.name) for task in listed)
        began, total, failed = monotonic(), 0, 0
        for task in listed:
            count = self._count(task, dry_run)
            failed += count is None
            total += count or 0
            if count is None:
                self.stdout.write(f"{task.name.ljust(width)}  {self.style.ERROR('failed')}")
            elif count or options["verbosity"] > 1:
                self.stdout.write(f"{task.name.ljust(width)}  {count} {done}")
        if options["verbosity"] > 0:
            summary = f"{total} {done}" if total else f"nothing {'to remove' if dry_run else 'was to be removed'}"
            self.stdout.write(f"{summary}, in {monotonic() - began:.1f} s")
        if failed:
            raise CommandError(f"{failed} of {len(listed)} tasks failed; the next run tries again.", returncode=1)

    def _count(self, task: Task, dry_run: bool) -> int | None:
        """How many rows a task removed; ``None`` if it failed."""
        try:
            return task.prune(dry_run)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            self.stderr.write(f"{task.name}: {type(error).__name__}: {reason}")
            logger.debug("A task of mana_prune failed.", exc_info=True)
            # The next one begins with a connection that works, if there is one.
            for connection in connections.all(initialized_only=True):
                if not connection.in_atomic_block:
                    connection.close_if_unusable_or_obsolete()
            return None
