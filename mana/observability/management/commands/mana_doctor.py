"""``manage.py mana_doctor``: whether this installation works, and what to do if not."""

from __future__ import annotations

import json
import shutil
import textwrap
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
#: Columns of the names, and of the whole where the terminal is wider or there is none.
NAME_WIDTH = 18
WIDTH = 110


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
        self._section = self._advice = ""
        self._width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
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
            self._section, self._advice = entry.section, ""
            self.stdout.write("\n" + self.style.MIGRATE_HEADING(entry.section.capitalize()))
        mark = self._paint(entry.result)(MARKS[entry.result])
        self.stdout.write(f"  {mark} {entry.name.ljust(NAME_WIDTH)} {self._wrapped(entry.detail, NAME_WIDTH + 5)}")
        # What is advised for one line after the other is said once.
        if entry.advice and entry.result is not Result.OK and entry.advice != self._advice:
            self.stdout.write(f"{' ' * (NAME_WIDTH + 5)}→ {self._wrapped(entry.advice, NAME_WIDTH + 7)}")
        self._advice = entry.advice

    def _wrapped(self, text: str, indent: int) -> str:
        """The text, whose further lines begin below its first; nothing is cut, so that it can be copied."""
        width = max(20, self._width - indent)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * indent).join(lines)

    def summarize(self, report: Report) -> None:
        """The last line."""
        failed, warnings = report.count(Result.FAILED), report.count(Result.WARNING)
        text = f"{report.count(Result.OK)} fine, {_counted(warnings, 'warning')}, {_counted(failed, 'failure')}"
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


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
