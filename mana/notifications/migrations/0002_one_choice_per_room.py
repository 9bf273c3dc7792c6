"""What notifies in a room was chosen in two places: the preference ``notifications.room.<id>`` goes into the membership."""

import json
from typing import Any

from django.db import migrations

PREFIX = "notifications.room."
LEVELS = ("all", "mentions", "none")


def join(apps: Any, schema_editor: Any) -> None:
    """The preference counted, unless the membership let less through. ``all`` in a membership meant no choice."""
    using = schema_editor.connection.alias
    memberships = apps.get_model("mana_messaging", "Membership").objects.using(using)
    preferences = apps.get_model("mana_preferences", "Preference").objects.using(using)
    memberships.filter(notifications="all").update(notifications="default")
    for chosen in preferences.filter(key__startswith=PREFIX).iterator():
        level = json.loads(chosen.value_json)
        rows = memberships.filter(room__key=chosen.key.removeprefix(PREFIX), user_id=chosen.user_id)
        if level in LEVELS:
            stricter = LEVELS[LEVELS.index(level) + 1 :]
            rows.exclude(notifications__in=stricter).update(notifications=level)
    preferences.filter(key__startswith=PREFIX).delete()


def part(apps: Any, schema_editor: Any) -> None:
    """Back: a room without a choice of its own notifies of all, as it did."""
    memberships = apps.get_model("mana_messaging", "Membership").objects.using(schema_editor.connection.alias)
    memberships.filter(notifications="default").update(notifications="all")


class Migration(migrations.Migration):
    dependencies = [
        ("mana_notifications", "0001_initial"),
        ("mana_messaging", "0003_notifications_of_a_room"),
        ("mana_preferences", "0001_initial"),
    ]

    operations = [migrations.RunPython(join, part)]
