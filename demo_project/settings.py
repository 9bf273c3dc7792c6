"""Settings of the demo: sensible without any environment variable, and all of it from the environment if need be.

``SECRET_KEY DEBUG ALLOWED_HOSTS ALLOWED_ORIGINS DATABASE_URL CHANNEL_LAYER_URL CACHE_URL LOG_LEVEL LOG_FORMAT`` and
``MANA_<KEY>`` for every key of ``MANA``.
"""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from demo_project import environment
from mana.conf import Settings

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = environment.flag("DEBUG", True)
SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("Without DEBUG the demo needs SECRET_KEY, a secret of at least 32 bytes.")
    SECRET_KEY = "the-demo-runs-on-your-own-machine-and-this-key-protects-nothing"  # noqa: S105
ALLOWED_HOSTS = environment.names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
_ORIGINS = environment.names("ALLOWED_ORIGINS", [])
CSRF_TRUSTED_ORIGINS = [origin for origin in _ORIGINS if "://" in origin]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "mana",
    "mana.realtime",
    "mana.accounts",
    "mana.preferences",
    "mana.contacts",
    "mana.messaging",
    "mana.notifications",
    "mana.observability",
    "mana.moderation",
    "mana_rtc",
    "mana_e2ee",
    "demo_project",
    "demo_project.examples",
    "demo_project.examples.custom_db",
    "demo_project.examples.notification",
    "demo_project.examples.clustering",
]
MIDDLEWARE = [
    "mana.observability.middleware.request_id_middleware",
    "django.middleware.security.SecurityMiddleware",
    "demo_project.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "demo_project.urls"
ASGI_APPLICATION = "demo_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": environment.database(os.environ.get("DATABASE_URL") or f"sqlite:///{BASE_DIR / 'demo.sqlite3'}")
}
CHANNEL_LAYERS = environment.channel_layers(os.environ.get("CHANNEL_LAYER_URL") or "memory://")
CACHES = environment.caches(os.environ.get("CACHE_URL") or "memory://")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "build" / "static"
MEDIA_ROOT = os.environ.get("MEDIA_ROOT") or BASE_DIR / "demo_media"  # attachments; served by mana alone, no MEDIA_URL

REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"}
SPECTACULAR_SETTINGS = {
    "TITLE": "django-mana",
    "DESCRIPTION": "Chat rooms, direct messages and accounts. The WebSocket is described by `manage.py mana_asyncapi`.",
    "VERSION": "v1",
    "SERVE_INCLUDE_SCHEMA": False,
}
SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(minutes=15), "REFRESH_TOKEN_LIFETIME": timedelta(days=30)}

MANA = {
    "ALLOWED_ORIGINS": _ORIGINS,
    "PHONE": "optional",
    # A demo is tried by many people, and machines, behind one address. What one account may do stays limited.
    "REGISTRATION_RATE": "",
    "SIGN_IN_ADDRESS_RATE": "",
    **environment.mana({setting.name: setting.default for setting in Settings.declared()}),
}

if not DEBUG:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = environment.flag("HTTPS", True)
    SECURE_SSL_REDIRECT = environment.flag("SSL_REDIRECT", False)

LOGGING = environment.logging(os.environ.get("LOG_FORMAT", "text"), os.environ.get("LOG_LEVEL", "WARNING"))

if find_spec("django_prometheus"):  # the extra [metrics]: Django's own figures join mana's in /metrics
    INSTALLED_APPS.append("django_prometheus")
    MIDDLEWARE = [
        "django_prometheus.middleware.PrometheusBeforeMiddleware",
        *MIDDLEWARE,
        "django_prometheus.middleware.PrometheusAfterMiddleware",
    ]
