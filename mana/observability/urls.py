"""``/health``, ``/metrics``, ``/debug/traces``; part of ``mana.urls`` where the app is installed."""

from django.urls import path

from mana.observability import views

urlpatterns = [
    path("health", views.health, name="health"),
    path("health/live", views.live, name="health-live"),
    path("health/ready", views.ready, name="health-ready"),
    path("metrics", views.metrics, name="metrics"),
    path("debug/traces", views.traces, name="traces"),
]
