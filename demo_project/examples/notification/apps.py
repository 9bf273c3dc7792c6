"""Django's entry for the example."""

from django.apps import AppConfig


class NotificationConfig(AppConfig):
    name = "demo_project.examples.notification"
    label = "notification"
