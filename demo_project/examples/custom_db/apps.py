"""Django's entry for the example."""

from django.apps import AppConfig


class CustomDbConfig(AppConfig):
    name = "demo_project.examples.custom_db"
    label = "custom_db"
    verbose_name = "Example: custom_db"
    default_auto_field = "django.db.models.BigAutoField"
