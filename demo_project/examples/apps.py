"""Django's entry for what the examples share: the page that lists them, and their style."""

from django.apps import AppConfig


class ExamplesConfig(AppConfig):
    name = "demo_project.examples"
    label = "examples"
