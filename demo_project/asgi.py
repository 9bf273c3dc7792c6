"""``daphne demo_project.asgi:application``."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application as get_django_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")

from mana.asgi import get_asgi_application

# The demo serves its own static files; behind nginx the web server does.
application = get_asgi_application(http=ASGIStaticFilesHandler(get_django_application()))
