"""Permissions of Django's for accounts on a server, as an administrator gives them: through a group."""

from __future__ import annotations

from tests.support import databases
from tests.support.client import Account


def allow(account: Account, *permissions: str) -> None:
    """Puts an account into a group of its own with these permissions."""
    databases.manage(
        "shell",
        "--no-imports",
        "-c",
        "from django.contrib.auth import get_user_model\n"
        "from django.contrib.auth.models import Group, Permission\n"
        f"group = Group.objects.create(name='group of {account.id}')\n"
        f"group.permissions.set(Permission.objects.filter(codename__in={list(permissions)!r}))\n"
        f"get_user_model().objects.get(pk={account.id}).groups.add(group)",
        database_url=account.server.database_url,
    )


#: What somebody needs who works on reports.
REVIEWER = ("view_report", "change_report", "view_auditentry")
