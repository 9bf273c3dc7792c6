"""Settings of the baseline: those of the Channels tutorial, with the demo's database options."""

from __future__ import annotations

import os

from demo_project import environment

DEBUG = False
SECRET_KEY = "the-baseline-protects-nothing-and-lives-for-a-minute"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "benchmarks.baseline",
]
ROOT_URLCONF = "benchmarks.baseline.urls"
ASGI_APPLICATION = "benchmarks.baseline.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
# As a project has it by default: Channels closes the connection after each message. BENCHMARK_CONN_MAX_AGE=none keeps
# it, which leaks connections under ASGI (Django's documentation advises against it) and makes this baseline faster.
_KEEP = {"CONN_MAX_AGE": None} if os.environ.get("BENCHMARK_CONN_MAX_AGE") == "none" else {}
DATABASES = {"default": {**environment.database(os.environ["DATABASE_URL"]), **_KEEP}}
