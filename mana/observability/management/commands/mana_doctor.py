"""``manage.py mana_doctor``: whether this installation works, and what to do if not."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import color_style

from mana.observability.doctor import (
    Report,
    contributions,
    examine_database,
    examine_layer,
    examine_message,
    examine_settings,
)
from mana.observability.doctor.report import Entry, Result

MARKS = {Result.OK: "✓", Result.NOTE: "·", Result.WARNING: "!", Result.FAILED: "✗"}
SUBTLE = 18


class Command(BaseCommand):
    """Examines settings, database, channel layer, and one message all the way. Exit code 1 if something fails."""

    help = (
        "Examines settings, database and channel layer, writes one message through the real writer, reads it back and "
        "removes it. Exit code 1 if something does not work."
    )
    requires_system_checks: list[str] = []  # they are part of the examination

    def add_arguments(self, parser: CommandParser) -> None:
        """``--json``, ``--no-message``, ``--max-skew SECONDS``."""
        parser.add_argument("--json", action="store_true", help="write the report as one JSON object")
        parser.add_argument("--no-message", action="store_true", help="write nothing, only look")
        parser.add_argument(
            "--max-skew",
            type=float,
            default=2.0,
            metavar="SECONDS",
            help="how far this machine's clock may be from the database server's (2)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Examines, and tells."""
        report = Report() if options["json"] else Report(tell=self.tell)
        self._section = ""
        report.section = "settings"
        examine_settings(report)
        report.section = "database"
        database = examine_database(report, max_skew=options["max_skew"])
        report.section = "channel layer"
        examine_layer(report)
        for section, examine in contributions if database else ():
            report.section = section
            examine(report)
        if not options["no_message"]:
            report.section = "message"
            if database:
                examine_message(report)
            else:
                report.note("message", "not written: see the database")
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
        else:
            self.summarize(report)
        if report.failed:
            raise CommandError("Something does not work.", returncode=1)

    def tell(self, entry: Entry) -> None:
        """One line, and the advice below it."""
        if entry.section != self._section:
            self._section = entry.section
            self.stdout.write("\n" + self.style.MIGRATE_HEADING(entry.section.capitalize()))
        paint = self._paint(entry.result)
        self.stdout.write(f"  {paint(MARKS[entry.result])} {entry.name.ljust(SUBTLE)} {entry.detail}")
        if entry.advice and entry.result is not Result.OK:
            self.stdout.write(f"      {'→'} {entry.advice}")

    def summarize(self, report: Report) -> None:
        """The last line."""
        failed, warnings = report.count(Result.FAILED), report.count(Result.WARNING)
        text = f"{report.count(Result.OK)} fine, {warnings} warnings, {failed} failures"
        result = Result.FAILED if failed else Result.WARNING if warnings else Result.OK
        self.stdout.write("\n" + self._paint(result)(text))

    def _paint(self, result: Result) -> Any:
        style = self.style or color_style()
        return {
            Result.OK: style.SUCCESS,
            Result.NOTE: style.HTTP_INFO,
            Result.WARNING: style.WARNING,
            Result.FAILED: style.ERROR,
        }[result]
