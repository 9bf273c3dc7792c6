"""``/examples/clustering/``."""

from django.urls import path

from demo_project.examples.clustering.views import ClusteringView, nodes

urlpatterns = [
    path("", ClusteringView.as_view(), name="clustering"),
    path("nodes", nodes, name="nodes"),
]
