"""What users chose. What they did not choose has no row; its default is in the registry."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.fields import ExactCharField


class Preference(models.Model):
    """One choice of one user."""

    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_preferences")
    key = ExactCharField(max_length=200)
    value_json = models.TextField("value")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = table("preference")
        constraints = [models.UniqueConstraint(fields=["user", "key"], name=table("preference_of_user"))]

    def __str__(self) -> str:
        return str(self.key)

    @property
    def value(self) -> Any:
        """The value as Python objects."""
        return json.loads(self.value_json)
