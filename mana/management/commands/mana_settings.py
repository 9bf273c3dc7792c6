"""``manage.py mana_settings``: every key of ``MANA`` as a Markdown page."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from mana.conf import Settings

HEAD = """\
# Settings

One dict in your settings module holds what you change:

```python
MANA = {"RATE_LIMIT_PER_SECOND": 20}
```

Unknown keys and wrong types are errors of `manage.py check`. This page is made by `manage.py mana_settings` from
`mana/conf.py`; the demo project also takes each key from the environment as `MANA_<KEY>`.
"""


class Command(BaseCommand):
    """Writes the page to standard output or a file."""

    help = "Writes the documentation of the MANA settings, made from mana.conf."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """``--output FILE``."""
        parser.add_argument("--output", metavar="FILE", help="file to write; without it, standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        """Writes it."""
        if options["output"]:
            with open(options["output"], "w", encoding="utf-8") as file:
                file.write(page())
        else:
            self.stdout.write(page(), ending="")


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    section = None
    for setting in Settings.declared():
        if setting.section != section:
            section = setting.section
            parts.append(f"\n## {section}\n")
        least = f", at least `{setting.minimum}`" if setting.minimum is not None else ""
        parts.append(
            f"\n### `{setting.name}`\n\nDefault: `{setting.default!r}`{least}. {_markdown(setting.help_text)}\n"
        )
    return "".join(parts)


def _markdown(text: str) -> str:
    return text.replace("``", "`")
