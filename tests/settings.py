"""Settings of the test suite: the demo's, with a fast password hasher and the database of MANA_TEST_DATABASE."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta

from demo_project.settings import *  # noqa: F403
from tests.support import services

SECRET_KEY = "tests-sign-with-a-key-of-more-than-thirty-two-bytes"
DEBUG = False
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Hundreds of people come from one address here; tests of the limits set them.
MANA = {
    **MANA,  # noqa: F405
    **{
        name: os.environ.get(f"MANA_{name}", "")
        for name in ("REGISTRATION_RATE", "SIGN_IN_ADDRESS_RATE", "PASSWORD_RESET_ADDRESS_RATE", "SEARCH_RATE")
    },
}
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
# Shared with the servers that tests start; tests.conftest removes it.
FILES = os.environ.setdefault("TEST_FILES", os.path.join(tempfile.gettempdir(), f"mana-files-{os.getpid()}"))
# Of each of the processes that share the tests among them.
if (worker := os.environ.get("PYTEST_XDIST_WORKER", "")) and not FILES.endswith(worker):
    FILES = os.environ["TEST_FILES"] = f"{FILES}-{worker}"
EMAIL_FILE_PATH = os.path.join(FILES, "mail")
MEDIA_ROOT = os.path.join(FILES, "media")

if "DATABASE_URL" not in os.environ:
    DATABASES = {"default": services.test_database(os.environ.get("MANA_TEST_DATABASE", "sqlite"))}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file: threads share it the way they do in production, which an in-memory database does not allow.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(tempfile.gettempdir(), f"mana-tests-{os.getpid()}.sqlite3")}

if "TEST_TOKEN_SECONDS" in os.environ:
    SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(seconds=int(os.environ["TEST_TOKEN_SECONDS"]))}

if "TEST_ATOMIC_REQUESTS" in os.environ:
    DATABASES["default"]["ATOMIC_REQUESTS"] = True
# Files go when the process does.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
