"""The demo's addresses: its pages, the admin, and everything of django-mana."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path, reverse_lazy

from demo_project import views

urlpatterns = [
    path("", views.MessengerView.as_view(), name="home"),
    path("login/", views.SignInView.as_view(), name="login"),
    path("signup/", views.SignUpView.as_view(), name="signup"),
    path("logout/", LogoutView.as_view(next_page=reverse_lazy("login")), name="logout"),
    path("rtc-lab/", views.MediaLabView.as_view(), name="rtc-lab"),
    path("examples/", include("demo_project.examples.urls")),
    path("admin/", admin.site.urls),
    path("", include("mana.urls")),
]
