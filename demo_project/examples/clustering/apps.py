"""Django's entry for the example."""

from django.apps import AppConfig


class ClusteringConfig(AppConfig):
    name = "demo_project.examples.clustering"
    label = "clustering"
