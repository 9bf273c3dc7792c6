"""The smallest server: ``python chat.py migrate``, then ``daphne -p 8791 chat:application``. No account is needed."""

import sys
from django.conf import settings

sqlite = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"}
apps = "daphne django.contrib.auth django.contrib.contenttypes django.contrib.sessions channels rest_framework"
mana = "mana mana.realtime mana.accounts mana.preferences mana.contacts mana.messaging mana.notifications"
settings.configure(
    DEBUG=True,
    SECRET_KEY="a-secret-of-32-bytes-or-more-that-is-only-yours",
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=[*apps.split(), *mana.split()],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "chat.sqlite3", "OPTIONS": sqlite}},
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    REST_FRAMEWORK={"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"},  # for /api/schema/
    MANA={"ENABLE_AUTH": False},  # development only: whoever connects says who they are
)
from mana.asgi import get_asgi_application

application = get_asgi_application()  # sets Django up, so it comes before the routes
from django.urls import include, path

urlpatterns = [path("", include("mana.urls"))]
if __name__ == "__main__":
    __import__("django.core.management").core.management.execute_from_command_line(sys.argv)
