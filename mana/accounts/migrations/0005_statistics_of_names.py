"""PostgreSQL learns how few names begin with a prefix.

With its default of a hundred values it takes a prefix for a hundredth of all people, and then may walk through them in
the order of their names until enough are found.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

VALUES = 1000


def _set(apps: Any, schema_editor: Any, values: int) -> None:
    if schema_editor.connection.vendor == "postgresql":
        model = apps.get_model("mana_accounts", "SearchName")
        quoted = schema_editor.quote_name(model._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {quoted} ALTER COLUMN key SET STATISTICS {values}")


def more(apps: Any, schema_editor: Any) -> None:
    """Sets it."""
    _set(apps, schema_editor, VALUES)


def default(apps: Any, schema_editor: Any) -> None:
    """Takes it back."""
    _set(apps, schema_editor, -1)


class Migration(migrations.Migration):
    dependencies = [("mana_accounts", "0004_search_and_verification")]
    operations = [migrations.RunPython(more, default)]
