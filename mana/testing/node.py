"""``python -m mana.testing.node FILE PORT``: a daphne node of a project, on a SQLite database of its own.

The settings are those of ``DJANGO_SETTINGS_MODULE`` but for the database, which is migrated first. With a command in
place of the port (``python -m mana.testing.node FILE loaddata people``) that is run on the same database.
"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> None:
    """Serves until it is killed, or runs a management command."""
    path, *rest = arguments
    from django.conf import settings

    options = settings.DATABASES["default"].get("OPTIONS", {}) if _is_sqlite(settings.DATABASES) else {}
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": {"timeout": 20, **options}}
    settings.DATABASES = {alias: dict(sqlite) for alias in settings.DATABASES}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    import django
    from django.core.management import call_command

    django.setup()
    if not rest[0].isdigit():
        call_command(*rest)
        return
    call_command("migrate", verbosity=0)
    from daphne.cli import CommandLineInterface

    module, name = settings.ASGI_APPLICATION.rsplit(".", 1)
    CommandLineInterface().run(["-b", "127.0.0.1", "-p", rest[0], f"{module}:{name}"])


def _is_sqlite(databases: dict[str, dict[str, object]]) -> bool:
    return "sqlite" in str(databases["default"].get("ENGINE", ""))


if __name__ == "__main__":
    main(sys.argv[1:])
