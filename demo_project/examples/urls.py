"""``/examples/``."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import TemplateView

app_name = "examples"

urlpatterns = [
    path("", login_required(TemplateView.as_view(template_name="examples/index.html")), name="index"),
    path("custom_db/", include("demo_project.examples.custom_db.urls")),
    path("notification/", include("demo_project.examples.notification.urls")),
    path("clustering/", include("demo_project.examples.clustering.urls")),
]
