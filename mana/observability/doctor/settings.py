"""The system checks, those for deployment included."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.core import checks

from mana import __version__
from mana.conf import settings
from mana.observability.doctor.report import Report

#: Where Django says more of its own checks, which give no hints.
DJANGO = "https://docs.djangoproject.com/en/stable/ref/checks/ (SILENCED_SYSTEM_CHECKS for what a proxy does)"


def examine_settings(report: Report) -> None:
    """Notes what the system checks of Django and of all apps say."""
    report.note("django-mana", __version__)
    found = checks.run_checks(include_deployment_checks=True, databases=list(django_settings.DATABASES))
    for message in found:
        advice = message.hint or DJANGO
        name = message.id or "system check"
        if message.is_silenced():
            continue
        if message.level >= checks.ERROR:
            report.fail(name, message.msg, advice)
        elif message.level >= checks.WARNING:
            report.warn(name, message.msg, advice)
        else:
            report.note(name, message.msg, advice)
    if not found:
        report.ok("system checks", "none of them complains")
    if django_settings.DEBUG:
        report.warn("DEBUG", "is True", "Set DEBUG = False where others can reach the site.")
    if not settings.OPERATIONS_TOKEN and settings.METRICS_ACCESS == ["token"]:
        report.warn("/metrics", "asks for a token that is not set", "Set MANA['OPERATIONS_TOKEN'].")
