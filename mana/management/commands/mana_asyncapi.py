"""``manage.py mana_asyncapi``: the WebSocket protocol as an AsyncAPI 3 document."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from mana import __version__
from mana.protocol.asyncapi import document


class Command(BaseCommand):
    """Writes the document to standard output or a file."""

    help = "Writes the AsyncAPI 3 document of the WebSocket, made from the code that decodes it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """``--output FILE``, ``--title TITLE``."""
        parser.add_argument("--output", metavar="FILE", help="file to write; without it, standard output")
        parser.add_argument("--title", default="django-mana", help="title of the document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Writes it."""
        text = json.dumps(document(title=options["title"], version=__version__), indent=2, ensure_ascii=False) + "\n"
        if options["output"]:
            with open(options["output"], "w", encoding="utf-8") as file:
                file.write(text)
        else:
            self.stdout.write(text, ending="")
